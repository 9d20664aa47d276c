/** zeromq.js: libzmq, a request and its reply over TCP or ipc. */
import { rmSync } from "node:fs";
import { Request } from "zeromq";
import { linkAdapter } from "../mecefo/link.ts";
import { freshAddress } from "../mecefo/transport-node.ts";
import { packageVersion } from "../src/package-version.ts";
import type { Adapter } from "../src/workload.ts";

export const adapter: Adapter = {
  open: async () => await Promise.resolve(linkAdapter("zeromq", packageVersion("zeromq"), async (protocol) => {
    const socket = new Request();
    const path = freshAddress("unix").slice("unix:".length);
    await socket.bind(protocol === "tcp" ? "tcp://127.0.0.1:*" : `ipc://${path}`);
    return {
      address: socket.lastEndpoint!,
      connected: () => Promise.resolve(),
      async send(message) {
        await socket.send(message);
        const [reply] = await socket.receive();
        if (reply!.byteLength !== 1) throw new Error("the message arrived short");
      },
      close: () => {
        socket.close();
        rmSync(path, { force: true });
      },
    };
  })),
};
