/** ws: WebSockets, the direction that is not masked. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { WebSocketServer, type WebSocket } from "ws";
import { linkAdapter } from "../mecefo/link.ts";
import { packageVersion } from "../src/package-version.ts";
import type { Adapter } from "../src/workload.ts";

export const adapter: Adapter = {
  open: async () => await Promise.resolve(linkAdapter("ws", packageVersion("ws"), async (protocol) => {
    if (protocol === "unix") return undefined;
    const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });
    await once(server, "listening");
    const connection = once(server, "connection") as Promise<[WebSocket]>;
    let socket: WebSocket | undefined;
    return {
      address: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
      async connected() {
        [socket] = await connection;
      },
      async send(message) {
        const acknowledged = once(socket!, "message");
        socket!.send(message);
        await acknowledged;
      },
      close: () => {
        socket?.terminate();
        server.close();
      },
    };
  })),
};
