// Browses the samples of the page. Everything from outside goes into text nodes.
"use strict";
(async function () {
  const STEP = 50;
  const bytes = Uint8Array.from(atob(document.getElementById("data").textContent), (letter) => letter.charCodeAt(0));
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const data = await new Response(unpacked).json();

  const filters = [...document.querySelectorAll("#filters select, #filters input")];
  const [show, task, length, depth, failure, search] = ["show", "task", "length", "depth", "failure", "search"].map(
    (id) => document.getElementById(id),
  );
  // Only on a page of several suites, which may have samples of one id.
  const suite = document.getElementById("suite");
  const [browser, list, more] = ["browser", "samples", "more"].map((id) => document.getElementById(id));
  let matching = [];
  let shown = 0;
  let opened = "";

  function element(name, text, className) {
    const made = document.createElement(name);
    made.textContent = text;
    if (className) {
      made.className = className;
    }
    return made;
  }

  function button(text, action) {
    const made = element("button", text);
    made.type = "button";
    made.addEventListener("click", action);
    return made;
  }

  function haystack(sample) {
    if (!sample.haystack) {
      const parts = [sample.id, ...sample.targets];
      for (const answer of sample.answers.filter(Boolean)) {
        parts.push(answer.prediction, answer.failure || "", answer.problem || "");
      }
      sample.haystack = parts.join("\n").toLowerCase();
    }
    return sample.haystack;
  }

  function matches(sample) {
    return (
      (!suite || !suite.value || sample.suite === suite.value) &&
      (!task.value || sample.task === task.value) &&
      (!length.value || String(sample.ctx) === length.value) &&
      (!depth || !depth.value || sample.depth === depth.value) &&
      (!failure || !failure.value || sample.answers.some((answer) => answer && answer.failure === failure.value)) &&
      (!show.value || (show.value === "failed" ? sample.failed : sample.change === show.value)) &&
      (!search.value || haystack(sample).includes(search.value.toLowerCase()))
    );
  }

  function verdict(answer) {
    if (!answer) {
      return "not compared";
    }
    if (answer.score === null) {
      return answer.problem ? "not scored: " + answer.problem : "not scored";
    }
    const shownScore = answer.score.toFixed(answer.right === null ? 4 : 2);
    return shownScore + (answer.failure ? ", " + answer.failure.replaceAll("_", " ") : "");
  }

  function verdictElement(name, answer) {
    const right = answer ? answer.right : null;
    const text = (name ? name + " " : "") + verdict(answer);
    return element("span", text, right === null ? "neither" : right ? "right" : "wrong");
  }

  // The text with every target in it marked; a single letter, such as that of a choice, is no evidence.
  function marked(text, targets) {
    const block = document.createElement("pre");
    const wanted = targets.filter((target) => target.length > 1).sort((one, two) => two.length - one.length);
    let at = 0;
    if (wanted.length) {
      const escaped = wanted.map((target) => target.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
      const words = new RegExp("(?<![\\p{L}\\p{N}_])(?:" + escaped.join("|") + ")(?![\\p{L}\\p{N}_])", "giu");
      for (const match of text.matchAll(words)) {
        block.append(text.slice(at, match.index), element("mark", match[0]));
        at = match.index + match[0].length;
      }
    }
    block.append(text.slice(at));
    return block;
  }

  function addBlock(parent, title, text, targets) {
    parent.append(element("h3", title), marked(text, targets));
  }

  function addThought(parent, name, answer) {
    const details = document.createElement("details");
    details.append(element("summary", "thought" + name + " (" + answer.thought_note + ")"), element("pre", answer.thought));
    parent.append(details);
  }

  function nameOf(sample) {
    return suite ? sample.suite + ":" + sample.id : sample.id;
  }

  function addressOf(sample) {
    return "#" + new URLSearchParams([["sample", nameOf(sample)]]);
  }

  function fill(details, sample) {
    const steps = element("p", "", "steps");
    const link = element("a", "link to this sample");
    link.href = addressOf(sample);
    steps.append(button("previous", () => step(sample, -1)), button("next", () => step(sample, 1)), link);
    details.append(steps);
    addBlock(details, sample.targets.length === 1 ? "target" : "targets", sample.targets.join("\n"), []);
    sample.answers.forEach((answer, place) => {
      if (answer) {
        const of = sample.names[place] ? " of " + sample.names[place] : "";
        if (answer.thought_note) {
          addThought(details, of, answer);
        }
        addBlock(details, "answer" + of + " (" + answer.finish_reason + ")", answer.prediction, sample.targets);
      }
    });
    for (const piece of sample.pieces) {
      const block = document.createElement("pre");
      block.append(...piece.parts.map((part, place) => (place % 2 ? element("mark", part) : part)));
      details.append(element("h3", piece.label + ", from character " + piece.start.toLocaleString("en")), block);
    }
    if (sample.depths.length) {
      details.append(element("h3", "needle depths: " + sample.depths.map((at) => at.toFixed(2)).join(", ")));
    }
    details.append(element("h3", "the whole prompt"), element("pre", sample.command));
    for (const block of details.querySelectorAll("pre")) {
      block.tabIndex = 0;
    }
  }

  function row(sample) {
    const details = document.createElement("details");
    const summary = document.createElement("summary");
    const scores = sample.answers.map((answer, place) => verdictElement(sample.names[place], answer));
    if (suite) {
      summary.append(element("span", sample.suite), " ");
    }
    summary.append(element("span", sample.id, "id"), " ");
    if (sample.change) {
      summary.append(element("strong", sample.change, sample.change), " ");
    }
    summary.append(...scores.flatMap((score) => [score, " "]));
    details.append(summary);
    details.dataset.sample = nameOf(sample);
    details.addEventListener("toggle", () => {
      if (details.open) {
        if (details.children.length === 1) {
          fill(details, sample);
        }
        opened = nameOf(sample);
      } else if (opened === nameOf(sample)) {
        opened = "";
      }
      toAddress();
    });
    return details;
  }

  function showMore() {
    const next = matching.slice(shown, shown + STEP);
    list.append(...next.map(row));
    shown += next.length;
    more.hidden = shown >= matching.length;
  }

  // Open the sample at a place of the list, close the one that was open, and move the focus there.
  function open(place) {
    while (shown <= place && shown < matching.length) {
      showMore();
    }
    const details = list.children[place];
    if (!details) {
      return;
    }
    for (const other of list.children) {
      other.open = other === details;
    }
    details.open = true;
    details.firstChild.focus();
    details.scrollIntoView({ block: "start" });
  }

  function step(sample, by) {
    open(matching.indexOf(sample) + by);
  }

  function update() {
    matching = data.filter(matches);
    shown = 0;
    list.replaceChildren();
    const count = matching.length.toLocaleString("en") + " of " + data.length.toLocaleString("en") + " samples";
    document.getElementById("count").textContent = count;
    showMore();
  }

  // Filters and the open sample are the fragment of the address, so that a link can name them:
  // #task=vt&length=4096&show=failed&sample=vt/4096/3/42, on a page of several suites sample=ruler:vt/4096/3/42
  function toAddress() {
    const chosen = filters.map((filter) => [filter.id, filter.value]).concat([["sample", opened]]);
    const wanted = new URLSearchParams(chosen.filter(([, value]) => value));
    history.replaceState(null, "", "#" + wanted);
  }

  // A fragment without = is a part of the page, and leaves the filters alone.
  function fromAddress() {
    const fragment = location.hash.slice(1);
    if (fragment && !fragment.includes("=")) {
      return;
    }
    const wanted = new URLSearchParams(fragment);
    for (const filter of filters) {
      filter.value = wanted.get(filter.id) || "";
    }
    opened = "";
    update();
    const place = matching.findIndex((sample) => nameOf(sample) === wanted.get("sample"));
    if (place >= 0) {
      open(place);
    }
  }

  function filtersChanged() {
    opened = "";
    update();
    toAddress();
  }

  filters.forEach((filter) => filter.addEventListener(filter === search ? "input" : "change", filtersChanged));
  document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("reset").addEventListener("click", () => {
    filters.forEach((filter) => (filter.value = ""));
    filtersChanged();
  });
  more.addEventListener("click", () => {
    const place = shown;
    showMore();
    list.children[place].firstChild.focus();
  });
  // A cell of a chart leads to its samples, with the first one open: what got worse or failed comes first.
  for (const link of document.querySelectorAll("figure a")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      if (location.hash !== link.getAttribute("href")) {
        history.pushState(null, "", link.getAttribute("href"));
      }
      fromAddress();
      open(0);
      browser.scrollIntoView();
    });
  }
  list.addEventListener("keydown", (event) => {
    const by = { n: 1, p: -1 }[event.key];
    const details = event.target.closest("#samples > details");
    if (by && details && !event.ctrlKey && !event.metaKey && !event.altKey) {
      open([...list.children].indexOf(details) + by);
    }
  });
  window.addEventListener("hashchange", fromAddress);
  window.addEventListener("popstate", fromAddress);
  if (location.hash.includes("=")) {
    fromAddress();
    browser.scrollIntoView();
  } else {
    update();
  }
})();
