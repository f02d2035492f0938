/** The key that a filtered session is bound to. */
import type { SchemaModel } from "../schema/model.ts";

export interface TenantScope {
  readonly schema: SchemaModel;
  /** The federation's name. */
  readonly federation: string;
  /** The key's logical value, or in a prepared query the marker that stands for it. It becomes a parameter's value in the tree. */
  readonly key: unknown;
  /** True if a value given for a distribution column is this key. */
  sameKey(value: unknown): boolean;
}
