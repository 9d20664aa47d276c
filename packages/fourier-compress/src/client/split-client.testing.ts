/** A tiny split model in one process, and transports that break on demand. */
import { modelFingerprint, type DecoderModel } from "@frugal/language-model";
import { createSplitServer } from "../server/split-server.ts";
import type { SplitServer, SplitServerOptions } from "../server/split-server-options.ts";
import { TINY_CONFIGURATION, tinyModel } from "../tiny-model.testing.ts";
import type { Connection, Transport } from "../transport/connection.ts";
import { inProcessTransport } from "../transport/in-process.ts";
import { ConnectionError } from "../errors.ts";
import { SplitClient, type SplitClientOptions } from "./split-client.ts";

/** The first block of the server's part in tests. */
export const SPLIT = 2;

/** A server of the tiny model's second half; it can be killed and begun anew, as a process could. */
export class TestBackend {
  readonly fingerprint: string;
  readonly model: DecoderModel = tinyModel({ parts: { blocks: [SPLIT, 4], embedding: false } });
  readonly #options: Partial<SplitServerOptions>;
  server: SplitServer;
  /** Connections, of which all but the last have ended. */
  readonly connections: Connection[] = [];
  /** Called with every frame that a client is about to send; throwing breaks the connection. */
  onSend: (frame: Uint8Array, sent: number) => void = () => {};
  /** Called with every frame that a client is about to receive. */
  onReceive: (frame: Uint8Array) => void = () => {};
  /** Set: nobody answers. */
  isDown = false;
  #sent = 0;

  private constructor(fingerprint: string, options: Partial<SplitServerOptions>) {
    this.fingerprint = fingerprint;
    this.#options = options;
    this.server = this.#start();
  }

  static async start(options: Partial<SplitServerOptions> = {}): Promise<TestBackend> {
    return new TestBackend(await modelFingerprint(TINY_CONFIGURATION), options);
  }

  #start(): SplitServer {
    return createSplitServer({ model: this.model, fingerprint: this.fingerprint, ...this.#options });
  }

  /** Loses all sessions. */
  async restart(): Promise<void> {
    this.isDown = true;
    await this.server.close();
    this.server = this.#start();
    this.isDown = false;
  }

  /** Ends the current connection as a network would. */
  cut(): void {
    this.connections.at(-1)?.close("cut");
  }

  readonly transport: Transport = async () => {
    if (this.isDown) throw new ConnectionError("nobody answers");
    const connection = await inProcessTransport(this.server)();
    const breakIf = (act: () => void): void => {
      try {
        act();
      } catch (error) {
        connection.close("broken by the test");
        throw new ConnectionError("broken by the test", { cause: error });
      }
    };
    const wrapped: Connection = {
      peer: connection.peer,
      close: (reason) => connection.close(reason),
      send: async (frame) => {
        breakIf(() => this.onSend(frame, ++this.#sent));
        await connection.send(frame);
      },
      receive: async () => {
        const frame = await connection.receive();
        if (frame !== undefined) breakIf(() => this.onReceive(frame));
        return frame;
      },
    };
    this.connections.push(wrapped);
    return wrapped;
  };

  connect(options: Partial<SplitClientOptions> = {}): Promise<SplitClient> {
    return SplitClient.connect({
      transport: this.transport, model: tinyModel({ parts: { blocks: [0, SPLIT], head: true } }), splitBlock: SPLIT,
      codec: { name: "float32" }, reconnect: { initialDelay: 1, longestDelay: 20 }, ...options,
    });
  }

  async close(): Promise<void> {
    await this.server.close();
    this.model.dispose();
  }
}
