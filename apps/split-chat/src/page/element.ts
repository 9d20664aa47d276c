/** The element of the page with an id. @throws Error where the page lacks it, or has another kind there */
export function element<Kind extends HTMLElement>(id: string, kind: new () => Kind): Kind {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} #${id}`);
  return found;
}

/** Sets the text of an element. */
export function setText(id: string, text: string): void {
  element(id, HTMLElement).textContent = text;
}

/** An element with text. */
export function textElement(tag: string, text: string, className = ""): HTMLElement {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className !== "") made.className = className;
  return made;
}
