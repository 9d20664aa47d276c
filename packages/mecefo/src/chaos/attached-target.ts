import { hostname } from "node:os";
import { MecefoError } from "../errors.ts";
import { slotName } from "../grid/grid.ts";
import type { ClusterObserver } from "../membership/cluster-observer.ts";
import type { WorkerFault } from "../runtime/grid-runtime.ts";
import type { ChaosTarget } from "./run-chaos.ts";

/**
 * Faults for a run that others started, through its control plane. Its workers have to allow them. A worker on this machine is killed and
 * stopped by signals; one elsewhere is told to kill itself, and cannot be stopped. Whoever launched them starts them again.
 */
export function attachedTarget(observer: ClusterObserver): ChaosTarget {
  return {
    async inject(slot: string, fault: WorkerFault): Promise<void> {
      const member = observer.state?.members.find((candidate) => slotName(candidate.slot) === slot);
      if (member === undefined) throw new MecefoError(`${slot} has no live worker`);
      const isHere = member.hostname === hostname();
      if (fault.kind === "kill" || fault.kind === "stop") {
        if (isHere) {
          process.kill(member.pid, fault.kind === "kill" ? "SIGKILL" : "SIGSTOP");
          if (fault.kind === "stop") setTimeout(() => wake(member.pid), fault.durationMilliseconds);
          return;
        }
        if (fault.kind === "stop") throw new MecefoError(`${slot} runs on ${member.hostname}: only workers of this machine can be stopped`);
      }
      const command = fault.kind === "kill" ? { kind: "kill" as const } : { kind: "fault" as const, fault };
      if (!(await observer.command(member.id, command))) throw new MecefoError(`the worker of ${slot} cannot be reached`);
    },
    // The run is somebody else's.
    stop: () => {},
  };
}

function wake(pid: number): void {
  try {
    process.kill(pid, "SIGCONT");
  } catch {
    // Ended meanwhile.
  }
}
