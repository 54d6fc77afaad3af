// Package report draws a benchmark run as one HTML page that needs nothing
// beside it: no network, no server, no library. It opens from a file, prints,
// and follows the reader's light or dark setting.
//
// The shape of the package: a Document is what a page says, as data
// (document.go); Load reads one from a run's directory (load.go), and other
// makers of figures write Series as JSON into theirs. Sections turn series into
// charts (sections.go, tiles.go); charts are pure functions from numbers to SVG
// text (scale.go, bars.go, lines.go, heat.go), drawn when the page is written,
// so that a page shows the same figures with scripts switched off. The page's
// script (page.js) only shows what is under the pointer and copies commands.
//
// Everything that comes from a run's files is data: names are escaped, and
// flame graphs sit in frames of their own that may not reach the page or the
// network (flame.go). The page's own policy forbids loading anything.
package report
