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
		{"help help", 0, "Usage: perdure <command>"},
		{"help help serve", 0, "Usage: perdure serve"},
		{"help serve", 0, "Usage: perdure serve"},
		{"help users add", 0, "Usage: perdure users add <name>"},
		{"help frob", 2, "unknown command frob (commands: serve, stdio, "},
		{"", 2, "a command is missing (commands: serve, stdio, cluster, users, login, "},
		{"users", 2, "a command is missing (commands: add, list, "},
		{"users frob", 2, "unknown command frob (commands: add, list, show, set, remove; perdure users --help lists commands"},
		{"users add ann bob", 2, "unexpected argument bob (perdure users add --help lists"},
		{"serve --frob", 2, "unknown flag --frob (perdure serve --help lists"},
		{"--version", 0, "perdure "},
		{"login http://cloud.example", 2, "login: plain http would send the password in the clear: http://cloud.example; --insecure-http allows it"},
		{"login cloud.example", 2, `login: "cloud.example" is not an http or https URL: did you mean https://cloud.example?`},
		{"login cloud.example:8443/nc", 2, `: did you mean https://cloud.example:8443/nc?`},
		{"login ftp://cloud.example", 2, "login: \"ftp://cloud.example\" is not an http or https URL\n"},
		{"login http:/cloud.example", 2, "login: \"http:/cloud.example\" is not an http or https URL\n"},
		{"login ann:s3cret@cloud.example", 2, "login: the server's address is not an http or https URL\n"},
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

// TestHelpOfData has each command say which folder is its own.
func TestHelpOfData(t *testing.T) {
	const (
		found = ".perdure if it is here, else /h/.local/share/perdure"
		later = found + " if that exists, else .perdure."
	)
	for command, want := range map[string]string{
		"serve": ".perdure, made if need be.", "stdio": found + ", made if need be.",
		"login": later, "logout": found + " if that exists.", "users add": later, "users list": later, "users show": later, "users set": later, "users remove": later,
	} {
		var out bytes.Buffer
		env := &environment{ctx: t.Context(), stdout: &out, stderr: &out, getenv: func(name string) (string, bool) {
			home := map[string]string{"HOME": "/h"}
			return home[name], home[name] != ""
		}}
		code := run(append(strings.Fields(command), "--help"), env)
		if text := strings.Join(strings.Fields(out.String()), " "); code != 0 || !strings.Contains(text, "Folder of the data. Default: "+want) {
			t.Errorf("perdure %s --help = %d %s, want %q", command, code, text, want)
		}
	}
}
