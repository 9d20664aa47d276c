import type { AddressInfo, Server, Socket } from "node:net";
import type { ListenSettings } from "./listen-options.ts";

/** Sockets beyond the connections, for the metrics and for answers that refuse. */
const SPARE_SOCKETS = 64;
/** How long connections may take to say goodbye. */
const GOODBYE_MILLISECONDS = 500;

/** A server that listens, and how to end it with everything that is open. */
export interface Listening {
  readonly port: number;
  /** Takes nothing new, lets what is open say goodbye for half a second, then cuts it. */
  cut(): Promise<void>;
}

/** Listens, with a bound on sockets. @throws the error of node:net when it cannot */
export async function listenOn(server: Server, { host, port, connections }: ListenSettings): Promise<Listening> {
  const sockets = new Set<Socket>();
  server.maxConnections = connections + SPARE_SOCKETS;
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
  let ending: Promise<void> | undefined;
  return {
    port: (server.address() as AddressInfo).port,
    cut: () => (ending ??= new Promise((resolve) => {
      const timer = setTimeout(() => {
        for (const socket of sockets) socket.destroy();
      }, GOODBYE_MILLISECONDS);
      server.close(() => {
        clearTimeout(timer);
        resolve();
      });
    })),
  };
}

/** An address as clients use it. */
export function listenerUrl(scheme: string, { host, path }: ListenSettings, port: number): string {
  return `${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}${path}`;
}
