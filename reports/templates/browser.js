// Browses the samples of the page. Everything from outside goes into text nodes.
"use strict";
(async function () {
  const STEP = 50;
  const bytes = Uint8Array.from(atob(document.getElementById("data").textContent), (letter) => letter.charCodeAt(0));
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const data = await new Response(unpacked).json();

  const filters = [...document.querySelectorAll("#filters select, #filters input")];
  const [task, length, failed, flipped, search] = ["task", "length", "failed", "flipped", "search"].map((id) =>
    document.getElementById(id),
  );
  const list = document.getElementById("samples");
  const more = document.getElementById("more");
  let matching = [];
  let shown = 0;
  let address = "";

  function element(name, text, className) {
    const made = document.createElement(name);
    made.textContent = text;
    if (className) {
      made.className = className;
    }
    return made;
  }

  function addOptions(select, values, describe) {
    for (const value of values) {
      const option = element("option", describe(value));
      option.value = String(value);
      select.append(option);
    }
  }

  function haystack(sample) {
    const answers = [sample.new, sample.base].filter(Boolean);
    const parts = [sample.id, ...sample.targets];
    for (const answer of answers) {
      parts.push(answer.prediction, answer.failure || "", answer.problem || "");
    }
    return parts.join("\n").toLowerCase();
  }

  function matches(sample) {
    return (
      (!task.value || sample.task === task.value) &&
      (!length.value || String(sample.ctx) === length.value) &&
      (!failed.checked || sample.failed) &&
      (!flipped || !flipped.checked || sample.flipped) &&
      (!search.value || haystack(sample).includes(search.value.toLowerCase()))
    );
  }

  function verdict(answer) {
    if (answer.score === null) {
      return answer.problem ? "not scored: " + answer.problem : "not scored";
    }
    const failure = answer.failure ? ", " + answer.failure.replaceAll("_", " ") : "";
    return answer.score.toFixed(2) + failure;
  }

  function verdictElement(name, answer) {
    const right = answer.score !== null && !answer.failure;
    return element("span", name + verdict(answer), right ? "right" : "wrong");
  }

  // The text with every place of a target marked.
  function marked(text, targets) {
    const block = document.createElement("pre");
    const lower = text.toLowerCase();
    // A few letters are longer in lower case; then places in it are not places in the text.
    const end = lower.length === text.length ? text.length : 0;
    let at = 0;
    while (at < end) {
      let next = -1;
      let found = "";
      for (const target of targets) {
        // A single letter, as of a choice, is in nearly every word.
        const place = target.length > 1 ? lower.indexOf(target.toLowerCase(), at) : -1;
        if (place >= 0 && (next < 0 || place < next || (place === next && target.length > found.length))) {
          next = place;
          found = target;
        }
      }
      if (next < 0) {
        break;
      }
      block.append(text.slice(at, next), element("mark", text.slice(next, next + found.length)));
      at = next + found.length;
    }
    block.append(text.slice(at));
    return block;
  }

  function addBlock(parent, title, text, targets) {
    parent.append(element("h3", title), marked(text, targets));
  }

  function fill(details, sample) {
    addBlock(details, "targets", sample.targets.join("\n"), []);
    if (sample.base) {
      addBlock(details, "answer of BASE (" + sample.base.finish_reason + ")", sample.base.prediction, sample.targets);
    }
    const name = sample.base ? "answer of NEW (" : "answer (";
    addBlock(details, name + sample.new.finish_reason + ")", sample.new.prediction, sample.targets);
    for (const piece of sample.pieces) {
      const block = document.createElement("pre");
      block.append(...piece.parts.map((part, place) => (place % 2 ? element("mark", part) : part)));
      details.append(element("h3", piece.label + ", from character " + piece.start.toLocaleString("en")), block);
    }
    if (sample.depths.length) {
      details.append(element("h3", "needle depths: " + sample.depths.map((depth) => depth.toFixed(2)).join(", ")));
    }
    details.append(element("h3", "the whole prompt"), element("pre", sample.command));
  }

  function row(sample) {
    const details = document.createElement("details");
    const summary = document.createElement("summary");
    summary.append(sample.id + "  ");
    if (sample.base) {
      summary.append(verdictElement("BASE ", sample.base), "  ", verdictElement("NEW ", sample.new));
    } else {
      summary.append(verdictElement("", sample.new));
    }
    details.append(summary);
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length === 1) {
        fill(details, sample);
      }
    });
    return details;
  }

  function showMore() {
    const next = matching.slice(shown, shown + STEP);
    list.append(...next.map(row));
    shown += next.length;
    more.hidden = shown >= matching.length;
  }

  function update() {
    matching = data.samples.filter(matches);
    shown = 0;
    list.replaceChildren();
    document.getElementById("count").textContent = matching.length + " of " + data.samples.length + " samples";
    showMore();
  }

  // The filters are the fragment of the address, so that a link can name samples: #task=vt&length=4096&failed=on
  function filtersToAddress() {
    const chosen = filters.map((filter) => [filter.id, filter.type === "checkbox" ? filter.checked && "on" : filter.value]);
    location.replace("#" + new URLSearchParams(chosen.filter(([, value]) => value)));
    address = location.hash;
    update();
  }

  function filtersFromAddress() {
    address = location.hash;
    const wanted = new URLSearchParams(address.slice(1));
    for (const filter of filters) {
      filter.checked = wanted.has(filter.id);
      if (filter.type !== "checkbox") {
        filter.value = wanted.get(filter.id) || "";
      }
    }
    update();
  }

  addOptions(task, data.tasks, (name) => name);
  addOptions(length, data.lengths, (ctx) => ctx.toLocaleString("en"));
  filters.forEach((filter) => filter.addEventListener(filter === search ? "input" : "change", filtersToAddress));
  document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", showMore);
  for (const link of document.querySelectorAll("figure a")) {
    link.addEventListener("click", () => document.getElementById("browser").scrollIntoView());
  }
  window.addEventListener("hashchange", () => {
    if (location.hash !== address) {
      filtersFromAddress();
    }
  });
  filtersFromAddress();
})();
