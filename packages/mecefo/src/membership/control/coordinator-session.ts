import type { Job } from "../../job/job.ts";
import type { ClusterState } from "../cluster-state.ts";
import type { WorkerCommand, WorkerReport } from "../worker-report.ts";
import {
  controlProtocolVersion, isSameProof, makeNonce, proveToken,
  type ClientMessage, type ControlAnswer, type ControlRole, type CoordinatorMessage,
} from "./control-protocol.ts";
import type { ControlSocket } from "./control-socket.ts";

/** What a coordinator does with a connection. */
export interface CoordinatorSessionListener {
  /** An observer is there. */
  observing(): void;
  /** A worker takes part; `seen` is the last state that it knows. */
  joined(id: string, seen: ClusterState | undefined, jobHash: string | undefined): void;
  report(id: string, report: WorkerReport): void;
  heartbeat(id: string): void;
  /** An observer's command. Whether the worker could be reached. */
  command(to: string, command: WorkerCommand): boolean;
  /** An observer asks for the run's end. Whether the leader heard it. */
  stop(): boolean;
  closed(reason: "over" | "refused" | "broken"): void;
}

/** Settings of a session. */
export interface CoordinatorSessionSettings {
  readonly token: string;
  readonly job: Job;
  /** Milliseconds in which the client has to prove that it knows the token. */
  readonly handshakeLimit: number;
}

/** The coordinator's end of one connection: challenge, proof, and then what its role allows. */
export class CoordinatorSession {
  readonly #socket: ControlSocket<ClientMessage>;
  readonly #settings: CoordinatorSessionSettings;
  readonly #listener: CoordinatorSessionListener;
  readonly #nonce = makeNonce();
  #role: ControlRole | undefined;
  #id: string | undefined;
  #joined = false;
  #refused = false;

  constructor(socket: ControlSocket<ClientMessage>, settings: CoordinatorSessionSettings, listener: CoordinatorSessionListener) {
    this.#socket = socket;
    this.#settings = settings;
    this.#listener = listener;
    const timer = setTimeout(() => {
      if (this.#role === undefined) this.refuse(`no proof of the token within ${settings.handshakeLimit} ms`);
    }, settings.handshakeLimit);
    socket.listen({
      message: (message) => {
        if (!this.#refused) this.#received(message);
      },
      closed: (_, broken) => {
        clearTimeout(timer);
        listener.closed(this.#refused ? "refused" : broken ? "broken" : "over");
      },
    });
    this.send({ kind: "challenge", version: controlProtocolVersion, nonce: this.#nonce });
  }

  /** What the client is; undefined before it has proved that it knows the token. */
  get role(): ControlRole | undefined {
    return this.#role;
  }

  /** A worker's member id, once it takes part. */
  get id(): string | undefined {
    return this.#joined ? this.#id : undefined;
  }

  /** Whether states are to be told. */
  get ready(): boolean {
    return this.#role === "observer" || this.#joined;
  }

  send(message: CoordinatorMessage): void {
    this.#socket.send(message);
  }

  sendFrame(frame: Buffer): void {
    this.#socket.sendFrame(frame);
  }

  /** Says why, and closes. */
  refuse(reason: string): void {
    this.#refused = true;
    this.send({ kind: "refuse", reason });
    this.#socket.end(reason);
  }

  end(cause: string): void {
    this.#socket.end(cause);
  }

  #received(message: ClientMessage): void {
    if (message.kind === "answer") {
      this.#answered(message);
      return;
    }
    if (this.#role === undefined) {
      this.refuse(`"${message.kind}" before the token was proved`);
      return;
    }
    if (message.kind === "job") {
      this.send({ kind: "job", job: this.#settings.job });
    } else if (this.#role === "worker" && this.#id !== undefined) {
      this.#workerSaid(this.#id, message);
    } else if (message.kind === "command") {
      this.send({ kind: "commanded", request: message.request, delivered: this.#listener.command(message.to, message.command) });
    } else if (message.kind === "stop") {
      this.send({ kind: "commanded", request: message.request, delivered: this.#listener.stop() });
    } else {
      this.refuse(`an observer cannot send "${message.kind}"`);
    }
  }

  #answered({ version, role, id, nonce, proof }: ControlAnswer): void {
    const facts = { coordinatorNonce: this.#nonce, clientNonce: nonce, role, id };
    const spoken = `version ${version} of the control protocol; this coordinator speaks ${controlProtocolVersion}`;
    if (this.#role !== undefined) this.refuse("a second answer to the challenge");
    else if (version !== controlProtocolVersion) this.refuse(spoken);
    else if (!isSameProof(proof, proveToken(this.#settings.token, "client", facts))) this.refuse("the token is wrong");
    else if (role === "worker" && id === undefined) this.refuse("a worker without a member id");
    else {
      this.#role = role;
      this.#id = id;
      this.#socket.trust();
      this.send({ kind: "welcome", proof: proveToken(this.#settings.token, "coordinator", facts) });
      if (role === "observer") this.#listener.observing();
    }
  }

  #workerSaid(id: string, message: Exclude<ClientMessage, ControlAnswer>): void {
    if (message.kind === "join") {
      this.#joined = true;
      this.#listener.joined(id, message.seen, message.jobHash);
    } else if (!this.#joined) {
      this.refuse(`"${message.kind}" before "join"`);
    } else if (message.kind === "heartbeat") {
      this.#listener.heartbeat(id);
    } else if (message.kind === "report") {
      const { report } = message;
      if (report.kind === "hello" && report.id !== id) this.refuse(`a hello of "${report.id}" over the connection of "${id}"`);
      else this.#listener.report(id, report);
    } else {
      this.refuse(`a worker cannot send "${message.kind}"`);
    }
  }
}
