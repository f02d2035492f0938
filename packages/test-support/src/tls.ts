/** A certificate for a private server, signed by itself, so that tests can say which one they trust. */
import { chownSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Runner, runToEnd } from "./server-process.ts";

export interface ServerCertificate {
  readonly certificatePath: string;
  readonly keyPath: string;
  /** The certificate itself (PEM), to be trusted as an authority. */
  readonly certificate: string;
}

/** Makes a certificate for 127.0.0.1 and localhost in a server's folder. */
export async function makeCertificate(
  folder: string,
  runner: Runner | undefined,
): Promise<ServerCertificate> {
  const certificatePath = join(folder, "server.crt");
  const keyPath = join(folder, "server.key");
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", keyPath];
  const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  await runToEnd(
    "openssl",
    ["req", "-x509", ...key, "-out", certificatePath, "-days", "2", ...names],
    undefined,
  );
  if (runner !== undefined)
    for (const path of [certificatePath, keyPath]) chownSync(path, runner.uid, runner.gid);
  return { certificatePath, keyPath, certificate: readFileSync(certificatePath, "utf8") };
}
