// The chooser of the namespace, in the header where there is more than one.

import { DEFAULT_NAMESPACE, namespace, openNamespace, read } from "./api.js";
import { h } from "./dom.js";

export class NamespaceChooser {
  #label;
  #select;
  #shown = "";

  /** `label` is around a select, which gets a namespace for each that the caller may read. */
  constructor(label) {
    this.#label = label;
    this.#select = label.querySelector("select");
    this.#select.addEventListener("change", () => openNamespace(this.#select.value));
    // A page that the browser kept for its Back button.
    addEventListener("pageshow", () => this.#choose());
  }

  /** Read which namespaces there are. */
  async refresh() {
    let names = [DEFAULT_NAMESPACE];
    try {
      names = (await read("api/namespaces")).namespaces.map(({ name }) => name);
    } catch {
      // The connection state shows this already. From a namespace there is a way back.
    }
    if (!names.includes(namespace)) names.push(namespace);
    this.#label.hidden = names.length < 2;
    if (this.#shown === names.join()) return; // so that an open list stays open
    this.#shown = names.join();
    this.#select.replaceChildren(...names.map((name) => h("option", { value: name }, name)));
    this.#choose();
  }

  #choose() {
    this.#select.value = namespace;
  }
}
