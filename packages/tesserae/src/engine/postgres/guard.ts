import type { FederationModel, TableModel } from "../../schema/model.ts";
export function createPostgresGuard(_table: TableModel, _federation: FederationModel): string[] {
  return [];
}
export function passPostgresGuard(_token: bigint) {
  return { open: [], close: [] };
}
