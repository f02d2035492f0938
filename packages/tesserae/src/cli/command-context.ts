/** What the commands share: their common options, the federation they work on, and numbers on the command line. */
import { type Command, InvalidArgumentError } from "commander";
import type { Federation } from "../federation.ts";
import type { FederationHandle } from "../federation-handle.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import { withFederation } from "./config-file.ts";

export interface CommonOptions {
  readonly config?: string;
  readonly json?: boolean;
  readonly federation: string;
}

export type Handle = FederationHandle<unknown, KeyValue>;

export const FEDERATION_OPTION = [
  "-f, --federation <name>",
  "which federation, where the schema has several",
  "default",
] as const;

export function optionsOf(command: Command): CommonOptions {
  return command.optsWithGlobals<CommonOptions>();
}

export function onFederation(
  command: Command,
  body: (federation: Federation) => Promise<void>,
): Promise<void> {
  return withFederation(optionsOf(command).config, body);
}

export function onHandle(command: Command, body: (handle: Handle) => Promise<void>): Promise<void> {
  return onFederation(command, (federation) => body(handleOf(federation, optionsOf(command).federation)));
}

export function handleOf(federation: Federation, name: string): Handle {
  return federation.in(name as never) as unknown as Handle;
}

export function wholeNumber(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value > 0) return value;
  throw new InvalidArgumentError("It must be a whole number from 1.");
}
