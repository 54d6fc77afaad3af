package report

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Flame is a flame graph found with a run.
type Flame struct {
	Title string
	Run   string // the run's label when the page has several
	Path  string // of the file, relative to the page
	// Source is the frame's address: the whole drawing, or "" when the page
	// would become too long; it is then linked.
	Source template.URL
	// Width and Height are the drawing's own size.
	Width, Height float64
}

// pageBudget bounds a page, in bytes; pageRest is about what stands on it
// beside charts and drawings: words, tables, configurations.
const (
	pageBudget = 1_450_000
	pageRest   = 120_000
)

// loadFlames finds the SVG files of a run, in its directory and below.
func loadFlames(dir fs.FS, notes *[]string) []Flame {
	var names []string
	err := fs.WalkDir(dir, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(name, ".svg") {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		*notes = append(*notes, fmt.Sprintf("Flame graphs cannot be listed: %v.", err))
	}
	slices.Sort(names)
	var flames []Flame
	for _, name := range names {
		data, err := fs.ReadFile(dir, name)
		if err == nil {
			var f Flame
			if f, err = newFlame(name, data); err == nil {
				flames = append(flames, f)
				continue
			}
		}
		*notes = append(*notes, fmt.Sprintf("%s is not shown: %v.", name, err))
	}
	return flames
}

// newFlame reads a drawing's size and puts it whole into an address. The page
// shows it in a sandboxed frame, so that its script may zoom but not reach the
// page, and nothing in it can load anything.
func newFlame(name string, data []byte) (Flame, error) {
	f := Flame{Path: name, Title: strings.ReplaceAll(strings.TrimSuffix(path.Base(name), ".svg"), "-", " ")}
	var err error
	if f.Width, f.Height, err = svgSize(data); err != nil {
		return f, err
	}
	f.Source = template.URL("data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString(data))
	return f, nil
}

// svgSize is the size of a well-formed drawing, of its viewBox if it has one.
func svgSize(data []byte) (width, height float64, err error) {
	decoder := xml.NewDecoder(bytes.NewReader(data))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, 0, fmt.Errorf("it is no well-formed SVG: %w", err)
		}
		root, ok := token.(xml.StartElement)
		if !ok || width > 0 {
			continue
		}
		if root.Name.Local != "svg" {
			return 0, 0, fmt.Errorf("its root is <%s>, not <svg>", root.Name.Local)
		}
		width, height = 1200, 600
		for _, attr := range root.Attr {
			number, err := strconv.ParseFloat(strings.TrimSuffix(attr.Value, "px"), 64)
			switch {
			case attr.Name.Local == "width" && err == nil && number > 0:
				width = number
			case attr.Name.Local == "height" && err == nil && number > 0:
				height = number
			}
		}
		for _, attr := range root.Attr {
			if box := strings.Fields(attr.Value); attr.Name.Local == "viewBox" && len(box) == 4 {
				w, errW := strconv.ParseFloat(box[2], 64)
				h, errH := strconv.ParseFloat(box[3], 64)
				if errW == nil && errH == nil && w > 0 && h > 0 {
					width, height = w, h
				}
			}
		}
	}
	if width == 0 {
		return 0, 0, errors.New("it holds no drawing")
	}
	return width, height, nil
}

// addProfiles finds the flame graphs of the directories of profiles that a
// result names: relative to where the run was started, which may be here, or
// two levels above the run's directory. Of each the one that tells most is
// shown, with the kernel's frames if there is one; the others are linked.
func (d *Document) addProfiles(dir string) {
	for _, named := range d.profiles {
		for _, place := range []string{filepath.Join(dir, "..", "..", named), named} {
			names, err := fs.Glob(os.DirFS(place), "*.svg")
			if err != nil || len(names) == 0 {
				continue
			}
			d.addProfile(place, linkTo(dir, place), names)
			break
		}
	}
}

func (d *Document) addProfile(place, link string, names []string) {
	row := filepath.Base(place)
	// <date>-<time>-<commit>-<workload>
	if parts := strings.SplitN(row, "-", 4); len(parts) == 4 {
		row = parts[3]
	}
	lead := ""
	for _, name := range []string{"cpu.svg", "perf.svg"} {
		if slices.Contains(names, name) {
			lead = name
		}
	}
	for _, name := range names {
		f := Flame{Path: name}
		var err error
		if name == lead {
			var data []byte
			if data, err = os.ReadFile(filepath.Join(place, name)); err == nil {
				f, err = newFlame(name, data)
			}
		}
		if err != nil {
			d.Notes = append(d.Notes, fmt.Sprintf("%s of %s is not shown: %v.", name, row, err))
			continue
		}
		f.Title, f.Path = row+" · "+strings.TrimSuffix(name, ".svg"), path.Join(link, name)
		if name == lead {
			d.Flames = append(d.Flames, f)
		} else {
			d.FlameLinks = append(d.FlameLinks, f)
		}
	}
}

// limitFlames takes out the drawings that would make the page too long; they
// stay as links. left is the room for them, in bytes of their addresses.
func limitFlames(flames []Flame, left int) {
	for i := range flames {
		if left -= len(flames[i].Source); left < 0 {
			left += len(flames[i].Source)
			flames[i].Source = ""
		}
	}
}
