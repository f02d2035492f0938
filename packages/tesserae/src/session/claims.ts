/** What a key's transaction has to claim in main before it commits, where its statements write columns that have a lookup. */
import type { RootOperationNode } from "kysely";
import type { ErrorPlace } from "../base/errors.ts";
import type { Connection } from "../engine/contract.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { WrittenValue } from "./lookup-claims.ts";
import type { Target } from "./target.ts";

/** Values that a statement of one key wrote. */
export interface Claims {
  readonly key: KeyValue;
  readonly place: ErrorPlace;
  readonly values: readonly WrittenValue[];
  /** Who claims them: the key's federation, whoever opened the transaction. */
  readonly claimer: Claimer;
}

export interface Claimer {
  /** Claims what the open transaction wrote, last before its commit. All of them are its own. */
  claim(all: readonly Claims[], asker: Asker): Promise<void>;
}

/** The transaction that asks: on an engine with one writer nobody else writes on its database while it is open. */
export interface Asker {
  readonly target: Target;
  readonly connection: Connection;
  /** Whether it has claims of the key, too: then it is one of those that are waited for. */
  readonly claimsFor?: ((key: KeyValue) => boolean) | undefined;
}

/** A key's claims in main. */
export interface KeyLookups {
  /** What a statement of the key's writes; undefined where that is nothing. */
  claimsOf(node: RootOperationNode, resolve?: (value: unknown) => unknown): Claims | undefined;
  /** Raises the refusal of a statement that no key's session would send. */
  refuseUnfiltered(node: RootOperationNode): void;
}
