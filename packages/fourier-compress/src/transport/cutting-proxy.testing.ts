import { connect, createServer, type AddressInfo, type Socket } from "node:net";

/** Passes bytes on to a port, until it cuts everything. */
export interface CuttingProxy {
  readonly port: number;
  /** Breaks all connections at once, without a goodbye; new ones are passed on again. */
  cut(): void;
  close(): void;
}

/** A proxy on this machine to `target`, for tests of networks that break. */
export async function cuttingProxy(target: number): Promise<CuttingProxy> {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(target, "127.0.0.1");
    for (const [socket, other] of [[near, far], [far, near]] as const) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const cut = (): void => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    close() {
      cut();
      server.close();
    },
  };
}
