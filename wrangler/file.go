package wrangler

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"unicode/utf8"
)

// Limits of the files that are read. They are far above what a project needs and
// keep a wrong path (a log, a dump) from being parsed.
const (
	maxFile  = 1 << 20 // bytes of one file
	maxDepth = 64      // tables and arrays inside each other
	maxItems = 1000    // bindings, migrations, classes of one migration, variables
	maxName  = 256     // bytes of a name, tag or class
)

// readFile reads a file of at most maxFile bytes. The error wraps the one of the
// operating system, fs.ErrNotExist among them.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return data, nil
}

// checkText refuses what no parser should see, and removes a byte order mark.
func checkText(path string, data []byte) ([]byte, error) {
	if len(data) > maxFile {
		return nil, &Error{Path: path, Problem: fmt.Sprintf("file is larger than the limit of %d bytes", maxFile)}
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(data) {
		return nil, &Error{Path: path, Line: invalidLine(data), Problem: "file is not UTF-8 text"}
	}
	return data, nil
}

// invalidLine returns the line of the first byte that is not UTF-8.
func invalidLine(data []byte) int {
	line := 1
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			break
		}
		if r == '\n' {
			line++
		}
		data = data[size:]
	}
	return line
}

// lineIndex turns offsets in a text into line numbers.
type lineIndex struct {
	newlines []int
}

func newLineIndex(data []byte) *lineIndex {
	x := &lineIndex{}
	for i, c := range data {
		if c == '\n' {
			x.newlines = append(x.newlines, i)
		}
	}
	return x
}

// line returns the line, counted from 1, of the byte at offset.
func (x *lineIndex) line(offset int) int {
	before, _ := slices.BinarySearch(x.newlines, offset)
	return before + 1
}
