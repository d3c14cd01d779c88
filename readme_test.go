package perdure_test

import (
	"os"
	"strings"
	"testing"
)

// TestReadmeProgram holds the README's first program against examples/readme,
// which is built with everything else.
func TestReadmeProgram(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("examples/readme/main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "```go\n")
	shown, _, _ := strings.Cut(rest, "```")
	_, built, _ := strings.Cut(string(program), "\n") // its package comment
	if shown != built {
		t.Error("the program in README.md is not that of examples/readme/main.go")
	}
}
