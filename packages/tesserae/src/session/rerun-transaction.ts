/**
 * The transaction of a key whose closure is run again when the key moved under it.
 *
 * A closure that ended with the guard's refusal, or a strict one that had read what is out of date, was rolled back as a whole. It waits as a single write does
 * and runs again, from its beginning and on the key's route of then. Only errors that this transaction's own connection raised before its commit was sent
 * count: after a commit of unknown outcome nothing runs again, and a refusal that the closure caught and kept to itself is its own affair.
 */
import {
  type AccessMode,
  type IsolationLevel,
  type KyselyProps,
  type Transaction,
  TransactionBuilder,
} from "kysely";
import type { TesseraeError } from "../base/errors.ts";
import type { SessionBinding } from "./binding.ts";
import { openTransaction } from "./open-transaction.ts";
import type { RoutedConnection } from "./routed-connection.ts";
import type { WriteWait } from "./write-wait.ts";

export interface RerunProps extends KyselyProps {
  readonly accessMode?: AccessMode;
  readonly isolationLevel?: IsolationLevel;
}

export class RerunTransactionBuilder<DB> extends TransactionBuilder<DB> {
  readonly #props: RerunProps;
  readonly #binding: SessionBinding;

  constructor(props: RerunProps, binding: SessionBinding) {
    super(props);
    this.#props = props;
    this.#binding = binding;
  }

  override setAccessMode(accessMode: AccessMode): RerunTransactionBuilder<DB> {
    return new RerunTransactionBuilder({ ...this.#props, accessMode }, this.#binding);
  }

  override setIsolationLevel(isolationLevel: IsolationLevel): RerunTransactionBuilder<DB> {
    return new RerunTransactionBuilder({ ...this.#props, isolationLevel }, this.#binding);
  }

  override async execute<T>(callback: (transaction: Transaction<DB>) => Promise<T>): Promise<T> {
    let wait: WriteWait | undefined;
    try {
      for (;;) {
        let connection: RoutedConnection | undefined;
        try {
          return await super.execute((transaction) => {
            connection = openTransaction();
            return callback(transaction);
          });
        } catch (error) {
          // TypeScript does not see that the closure above sets it.
          const used = connection as RoutedConnection | undefined;
          if (used === undefined || !used.wasOvertaken(error)) throw error;
          wait ??= this.#binding.beginWait();
          if (wait === undefined) throw error;
          await wait.after(used.opener.routed, error as TesseraeError);
        }
      }
    } finally {
      wait?.end();
    }
  }
}
