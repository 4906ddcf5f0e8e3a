// The scores of search results: Sphinx's own, but pages about varsim's development come last.
"use strict";

var Scorer = {
  objNameMatch: 11, // the query is the name of a Python object
  objPartialMatch: 6, // or a part of it
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,

  /** Return the score of a result: [docname, title, anchor, descr, score, filename, kind]. */
  score: ([docname, , , , score]) => {
    const aboutDevelopment = /^docs\/adr\/|^(ARCHITECTURE|CHANGELOG|CONTRIBUTING)$|^docs\/protocol$/;
    return aboutDevelopment.test(docname) ? score - 1000 : score;
  },
};
