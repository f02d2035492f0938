import type { FederationModel, TableModel } from "../../schema/model.ts";
export function createMysqlGuard(_table: TableModel, _federation: FederationModel): string[] {
  return [];
}
export function passMysqlGuard(token: bigint) {
  return { open: [`set @tesserae_mover = ${token}`], close: ["set @tesserae_mover = null"] };
}
