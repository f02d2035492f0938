import { type ErrorCode, isTesseraeError, type TesseraeError } from "../../src/index.ts";

/** The refusal of `act`, which must have this code. */
export async function refused(
  code: ErrorCode,
  act: () => Promise<unknown> | unknown,
): Promise<TesseraeError> {
  try {
    await act();
  } catch (error) {
    if (isTesseraeError(error, code)) return error;
    throw error;
  }
  throw new Error(`was not refused with ${code}`);
}
