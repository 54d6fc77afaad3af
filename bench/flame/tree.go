package flame

import (
	"slices"
	"strings"
)

// frame is a node of the tree: one function called along one path.
type frame struct {
	name string
	// total is of the frame and what it called, self of the frame alone.
	total, self int64
	// before is what total was in the profile compared with.
	before   int64
	children []*frame // by name
}

// child finds or adds the callee of a name.
func (f *frame) child(name string) *frame {
	i, ok := slices.BinarySearchFunc(f.children, name, func(c *frame, name string) int { return strings.Compare(c.name, name) })
	if !ok {
		f.children = slices.Insert(f.children, i, &frame{name: name})
	}
	return f.children[i]
}

// buildTree makes the tree of some stacks; before may be nil. Frames that only
// the older profile has stay in the tree with a total of 0.
func buildTree(after, before *Stacks) *frame {
	root := &frame{name: "all"}
	for _, stack := range after.Stacks {
		f := root
		f.total += stack.Value
		for _, name := range stack.Frames {
			f = f.child(name)
			f.total += stack.Value
		}
		f.self += stack.Value
	}
	if before == nil {
		return root
	}
	for _, stack := range before.Stacks {
		f := root
		f.before += stack.Value
		for _, name := range stack.Frames {
			f = f.child(name)
			f.before += stack.Value
		}
	}
	return root
}

// box is a frame with its place: level 0 is the root; left and width are shares
// of the whole.
type box struct {
	*frame
	level       int
	left, width float64
}

// layout places every frame that is at least minWidth wide, callers before
// callees.
func layout(root *frame, minWidth float64) (boxes []box, levels int) {
	var place func(f *frame, level int, left int64)
	place = func(f *frame, level int, left int64) {
		width := share(f.total, root.total)
		if width <= 0 || width < minWidth {
			return
		}
		boxes = append(boxes, box{frame: f, level: level, left: share(left, root.total), width: width})
		levels = max(levels, level+1)
		for _, c := range f.children {
			place(c, level+1, left)
			left += c.total
		}
	}
	place(root, 0, 0)
	return boxes, levels
}
