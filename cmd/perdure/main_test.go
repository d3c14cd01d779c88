package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestWhatPeopleTryFirst(t *testing.T) {
	for _, tt := range []struct {
		args   string
		code   int
		output string
	}{
		{"help", 0, "Usage: perdure <command>"},
		{"--version", 0, "perdure "},
		{"login http://cloud.example", 2, "--insecure-http allows it"},
		{"frob", 2, "perdure --help lists commands"},
	} {
		var out bytes.Buffer
		env := &environment{ctx: t.Context(), getenv: func(string) (string, bool) { return "", false },
			environ: func() []string { return nil }, stdin: strings.NewReader(""), stdout: &out, stderr: &out}
		t.Chdir(t.TempDir())
		if code := run(append(strings.Fields(tt.args), map[bool][]string{true: {"--data", "d"}}[strings.HasPrefix(tt.args, "login")]...), env); code != tt.code || !strings.Contains(out.String(), tt.output) {
			t.Errorf("perdure %s = %d %q, want %d and %q", tt.args, code, out.String(), tt.code, tt.output)
		}
	}
}
