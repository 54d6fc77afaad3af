// Package flame turns profiles into flame graphs: a profile is folded into
// stacks, stacks into a tree of frames, and the tree into one SVG file that
// needs nothing else.
//
// It is pure: bytes in, bytes out. Profiles are parsed by google/pprof's own
// library (Fold); the text of `perf script`, which has the kernel's frames too,
// by ReadPerfScript. Taking a profile, from a broker or with perf, is the work
// of package bench.
//
// A flame graph has one box a frame. Its width is the share of the profile that
// was spent in it and in what it called, the root is at the bottom, and
// neighbours are in alphabetical order: left to right is not time. The colour
// says whose code it is (Layer). A differential graph has the widths of the new
// profile and is coloured by the change of each frame's share since the old one:
// red grew, blue shrank. Shares are compared, not seconds, because two profiles
// rarely cover the same amount of work.
//
// The SVG shows everything without a script. With scripts on, a click zooms, the
// box searches by regular expression, a legend entry marks its layer and the
// pointer shows a frame's figures. It uses no identifiers, so several graphs can
// stand in one HTML page.
package flame
