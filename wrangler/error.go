package wrangler

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Error is one thing that is wrong with a configuration file, and where.
// Its text is file:line: problem, with a column for errors of syntax.
type Error struct {
	Path    string // the file, as it was given
	Line    int    // counted from 1; 0 if no line is at fault
	Column  int    // counted in bytes from 1; 0 if the whole line is meant
	Problem string // what is wrong and what to change
}

// Error returns the position and the problem on one line.
func (e *Error) Error() string {
	switch {
	case e.Line == 0:
		return fmt.Sprintf("%s: %s", e.Path, e.Problem)
	case e.Column == 0:
		return fmt.Sprintf("%s:%d: %s", e.Path, e.Line, e.Problem)
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.Path, e.Line, e.Column, e.Problem)
}

// maxProblems bounds one joined error: a file can be wrong in every line.
const maxProblems = 20

// problems collects what is wrong with one file, so that its owner sees
// everything at once and not one line a run.
type problems struct {
	path string
	list []*Error
}

func (p *problems) add(line int, format string, args ...any) {
	p.list = append(p.list, &Error{Path: p.path, Line: line, Problem: clip(fmt.Sprintf(format, args...), 1000)})
}

// err joins the problems in the order of their lines, or returns nil.
func (p *problems) err() error {
	slices.SortStableFunc(p.list, func(a, b *Error) int { return cmp.Compare(a.Line, b.Line) })
	var errs []error
	for i, e := range p.list {
		if i == maxProblems {
			errs = append(errs, &Error{Path: p.path, Problem: fmt.Sprintf("and %d more", len(p.list)-i)})
			break
		}
		errs = append(errs, e)
	}
	return errors.Join(errs...)
}

// clip keeps a message to one line of at most limit bytes: it may quote names from
// the file, which can be long and many.
func clip(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s)
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + " ..."
	}
	return s
}

// quoted renders names as "a", "b" and "c".
func quoted(names []string) string {
	var b strings.Builder
	for i, name := range names {
		switch {
		case i > 0 && i == len(names)-1:
			b.WriteString(" and ")
		case i > 0:
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", name)
	}
	return b.String()
}
