import { chmod, rm } from "node:fs/promises";
import { createConnection, type AddressInfo, type Server } from "node:net";
import { MembershipError } from "../../errors.ts";
import { formatControlAddress, type ControlAddress } from "./control-address.ts";
import { takeFileLock, type ReleaseLock } from "./file-lock.ts";

/** Makes a server listen, as the only one at its address. Gives the address that it got and what gives it up. @throws MembershipError */
export async function listenAlone(
  server: Server, address: ControlAddress,
): Promise<{ readonly address: string; readonly release: ReleaseLock }> {
  if (address.kind === "tcp") {
    await listen(server, { host: address.host, port: address.port }, formatControlAddress(address));
    const { port } = server.address() as AddressInfo;
    return { address: formatControlAddress({ ...address, port }), release: async () => await Promise.resolve() };
  }
  const name = formatControlAddress(address);
  const unlock = await takeFileLock(`${address.path}.lock`, name);
  try {
    if (await isAnswered(address.path)) throw alreadyThere(name);
    await rm(address.path, { force: true }); // left by a process that was killed
    await listen(server, { path: address.path }, name);
    await chmod(address.path, 0o600);
  } catch (error) {
    await unlock();
    throw error;
  }
  return { address: name, release: unlock };
}

async function listen(server: Server, where: { host: string; port: number } | { path: string }, name: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void => {
      const taken = error.code === "EADDRINUSE";
      reject(taken ? alreadyThere(name) : new MembershipError(`cannot listen at ${name}: ${error.message}`, { cause: error }));
    };
    server.once("error", failed);
    server.listen(where, () => {
      server.off("error", failed);
      resolve();
    });
  });
}

function alreadyThere(name: string): MembershipError {
  return new MembershipError(`two coordinators: something already listens at ${name}; end it, or choose another address`);
}

async function isAnswered(path: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = createConnection({ path });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
