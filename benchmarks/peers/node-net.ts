/** Sockets of node:net by themselves, received into one buffer again and again: no frames, no checksums, nobody to tell apart. A limit. */
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { linkAdapter } from "../mecefo/link.ts";
import { freshAddress } from "../mecefo/transport-node.ts";
import type { Adapter } from "../src/workload.ts";

export const adapter: Adapter = {
  open: async () => await Promise.resolve(linkAdapter("net", process.version, async (protocol) => {
    const server = createServer();
    if (protocol === "unix") server.listen(freshAddress("unix").slice("unix:".length));
    else server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const at = server.address()!;
    const connection = once(server, "connection") as Promise<[Socket]>;
    let socket: Socket | undefined;
    return {
      address: typeof at === "string" ? `unix:${at}` : `tcp:${at.port}`,
      async connected() {
        [socket] = await connection;
        socket.setNoDelay(true);
      },
      async send(message) {
        const acknowledged = once(socket!, "data");
        socket!.write(message);
        await acknowledged;
      },
      close: () => {
        socket?.destroy();
        server.close();
      },
    };
  })),
};
