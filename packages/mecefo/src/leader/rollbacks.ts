/** Times in a row that training may go back without ever getting further than before. */
const MOST_ROLLBACKS = 5;

/** Counts how often training goes back without progress: a worker that computes something else every time would make it go back for ever. */
export class Rollbacks {
  #highest = 0;
  #count = 0;

  /** Takes in the steps before and after a change of state. True: there is no progress any more. */
  isStuck(before: number, after: number): boolean {
    if (after > this.#highest) [this.#highest, this.#count] = [after, 0];
    if (after < before) this.#count++;
    return this.#count >= MOST_ROLLBACKS;
  }
}
