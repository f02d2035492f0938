/** The life of a private server: the part that is the same for both engines. */
import { databaseServer } from "./administration.ts";
import type { PrivateServer, ServerAddress } from "./server.ts";
import { findFreePort, type Launch, removeFolder, ServerProcess, waitUntilReady } from "./server-process.ts";

/** What an engine says about its servers. */
export interface ServerRecipe {
  readonly folder: string;
  readonly certificate: string | undefined;
  /** The command that runs the server on a port, in the foreground. */
  launch(port: number): Launch;
  address(port: number): ServerAddress;
  /** Raises as long as the server does not answer. */
  ping(address: ServerAddress): Promise<void>;
  /** The signal for an orderly shutdown that does not wait for clients. */
  readonly shutdownSignal: NodeJS.Signals;
}

/** Another process may take the port between our finding it and the server's listening. */
const PORT_ATTEMPTS = 5;

export async function startPrivateServer(recipe: ServerRecipe): Promise<PrivateServer> {
  for (let attempt = 1; ; attempt += 1) {
    const port = await findFreePort();
    try {
      return manage(recipe, port, await launch(recipe, port));
    } catch (error) {
      const portTaken = /address already in use/i.test(String(error));
      if (portTaken && attempt < PORT_ATTEMPTS) continue;
      removeFolder(recipe.folder);
      throw error;
    }
  }
}

async function launch(recipe: ServerRecipe, port: number): Promise<ServerProcess> {
  const server = new ServerProcess(recipe.launch(port));
  try {
    await waitUntilReady(server, () => recipe.ping(recipe.address(port)));
    return server;
  } catch (error) {
    await server.end("SIGKILL");
    throw error;
  }
}

function manage(recipe: ServerRecipe, port: number, first: ServerProcess): PrivateServer {
  let server = first;
  const killSignal = recipe.launch(port).killSignal;
  const stop = async () => {
    await server.end(killSignal);
    removeFolder(recipe.folder);
  };
  return {
    ...databaseServer(recipe.address(port)),
    folder: recipe.folder,
    certificate: recipe.certificate,
    get pid() {
      return server.pid;
    },
    kill: () => server.end(killSignal),
    pause: () => server.signalAll("SIGSTOP"),
    resume: () => server.signalAll("SIGCONT"),
    async restart() {
      await server.end(recipe.shutdownSignal);
      server = await launch(recipe, port);
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
