import { SettingsError } from "../errors.ts";
import type { Job } from "../job/job.ts";
import { observeNats, publishNatsJob } from "../membership/nats/nats-observer.ts";
import type { RestorePoint } from "../membership/cluster-state.ts";
import { natsAccess } from "../membership/join-access.ts";
import { parseJoinUrl } from "../membership/join-url.ts";
import type { LaunchedControl } from "./process-grid.ts";

/**
 * Puts the job where workers find it, and looks on. The leader is one of them: this process may end, and be started again, without any
 * effect on the run.
 * @param servers "nats://host:4222,host:4222"
 */
export async function startNatsControl({ servers, job, token, resume }: {
  readonly servers: string; readonly job: Job; readonly token: string; readonly resume: RestorePoint | undefined;
}): Promise<LaunchedControl> {
  const joinUrl = `${servers.replace(/\/$/, "")}/${job.name}`;
  const target = parseJoinUrl(joinUrl);
  if (target.kind !== "nats") throw new SettingsError(`${servers} is no NATS cluster`);
  const access = natsAccess(target, token);
  await publishNatsJob(access, job, resume);
  const observer = await observeNats({ ...access, jobName: job.name });
  return {
    joinUrl,
    get state() {
      return observer.state;
    },
    onState: (listener) => observer.onState(listener),
    onEvent: (listener) => observer.onEvent(listener),
    command: async (id, command) => await observer.command(id, command),
    exited: (id, how) => {
      observer.exited(id, how);
    },
    requestStop: async () => await observer.requestStop(),
    close: async () => {
      // A run that is over needs its name no more.
      if (observer.state?.phase === "finished" || observer.state?.phase === "failed") await observer.remove();
      await observer.close();
    },
  };
}
