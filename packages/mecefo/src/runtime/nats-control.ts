import type { Job } from "../job/job.ts";
import { observeNats, publishNatsJob } from "../membership/nats/nats-observer.ts";
import { natsAccess } from "./nats-access.ts";
import type { LaunchedControl } from "./process-grid.ts";

/**
 * Puts the job where workers find it, and looks on. The leader is one of them: this process may end, and be started again, without any effect on the run.
 * @param servers "nats://host:4222,host:4222"
 */
export async function startNatsControl({ servers, job }: { readonly servers: string; readonly job: Job }): Promise<LaunchedControl> {
  const hosts = servers.replace(/^nats:\/\//, "").replace(/\/$/, "");
  const access = natsAccess(hosts.split(",").map((host) => `nats://${host.replace(/^nats:\/\//, "")}`));
  await publishNatsJob(access, job);
  const observer = await observeNats({ ...access, jobName: job.name });
  return {
    joinUrl: `nats://${hosts.replaceAll("nats://", "")}/${job.name}`,
    get state() {
      return observer.state;
    },
    onState: (listener) => observer.onState(listener),
    onEvent: (listener) => observer.onEvent(listener),
    command: async (id, command) => await observer.command(id, command),
    // Its silence tells the leader.
    exited: () => {},
    requestStop: async () => await observer.requestStop(),
    close: async () => {
      // A run that is over needs its name no more.
      if (observer.state?.phase === "finished" || observer.state?.phase === "failed") await observer.remove();
      await observer.close();
    },
  };
}
