import { AsyncResource } from "node:async_hooks";
import type { IncomingMessage } from "node:http";
import type { Readable } from "node:stream";
import busboy from "busboy";
import { FileRefused } from "../places/place.ts";

/** The file of an upload form, with the fields that came before it. */
export interface UploadedFile {
  readonly fields: ReadonlyMap<string, string>;
  readonly fileName: string;
  /** The file's bytes as they arrive; throws `FileRefused` when there are more than allowed. */
  readonly bytes: AsyncIterable<Uint8Array>;
}

/** Bytes of a form around its file: fields, names, boundaries. */
const formBytesMax = 64 * 1024;
const idleMs = 60_000;

/**
 * Takes a multipart form apart while it arrives: `handle` is called at the beginning of the file, and may read it piece by
 * piece. Nothing is kept, in memory or on disk. What `handle` leaves unread is let go past, so that a
 * browser, which listens only after it has sent everything, gets to see the answer.
 */
export async function withUploadedFile<T>(
  incoming: IncomingMessage,
  bytesMax: number,
  handle: (file: UploadedFile) => Promise<T>,
): Promise<T> {
  const announced = Number(incoming.headers["content-length"] ?? 0);
  if (announced > bytesMax + formBytesMax) {
    await letPass(incoming, bytesMax * 4);
    throw tooLarge(bytesMax);
  }
  const form = openForm(incoming, bytesMax);
  // The form's parts come from the connection; what is done with them is the request's, and noted as its.
  const handleHere = AsyncResource.bind(handle);
  let file: Readable | undefined;
  const brokenOff = () => {
    if (!incoming.complete) file?.destroy(new Error("The upload was broken off."));
  };
  incoming.on("close", brokenOff);
  try {
    return await new Promise<T>((resolve, reject) => {
      const fields = new Map<string, string>();
      form.on("field", (name, value) => fields.set(name, value));
      form.on("file", (_, stream, { filename }) => {
        file = stream;
        const bytes = read(stream, bytesMax);
        handleHere({ fields, fileName: plainFileName(filename), bytes }).then(resolve, reject);
      });
      form.on("error", (error) => (file ? file.destroy(error as Error) : reject(damaged())));
      form.on("close", () => file ?? reject(new FileRefused("Choose a file first.", 400)));
      incoming.on("error", reject);
      incoming.pipe(form);
    });
  } finally {
    incoming.off("close", brokenOff);
    incoming.unpipe(form);
    file?.resume();
    await letPass(incoming, bytesMax * 4);
    form.destroy();
  }
}

function damaged(): FileRefused {
  return new FileRefused("The form is damaged, or was broken off.", 400);
}

function openForm(incoming: IncomingMessage, bytesMax: number): busboy.Busboy {
  try {
    return busboy({
      headers: incoming.headers,
      defParamCharset: "utf8",
      limits: { files: 1, fields: 20, fieldSize: 4_000, fieldNameSize: 100, fileSize: bytesMax, parts: 25 },
    });
  } catch {
    throw new FileRefused("This is no upload form.", 400);
  }
}

async function* read(
  stream: Readable & { truncated?: boolean },
  bytesMax: number,
): AsyncGenerator<Uint8Array> {
  const chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  for (;;) {
    const idle = setTimeout(() => stream.destroy(new Error("The upload stood still.")), idleMs);
    const next = await chunks.next().finally(() => clearTimeout(idle));
    if (next.done) break;
    yield next.value;
  }
  if (stream.truncated) throw tooLarge(bytesMax);
}

function tooLarge(bytesMax: number): FileRefused {
  const limit = bytesMax / 1024 / 1024;
  return new FileRefused(
    `The file is larger than ${limit} MiB, which is the most that can be uploaded here.`,
    413,
  );
}

function plainFileName(name: string | undefined): string {
  const last = (name ?? "").split(/[/\\]/).at(-1) ?? "";
  return last.toWellFormed().replace(/[\u0000-\u001f\u007f]/g, "") || "upload";
}

/** Reads the rest of a request and forgets it, up to a number of bytes. */
function letPass(incoming: IncomingMessage, bytesMax: number): Promise<void> {
  if (incoming.readableEnded || incoming.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    let bytes = 0;
    incoming.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > bytesMax) done();
    });
    const done = () => {
      incoming.pause();
      resolve();
    };
    incoming.on("end", done).on("close", done).on("error", done);
    incoming.resume();
  });
}
