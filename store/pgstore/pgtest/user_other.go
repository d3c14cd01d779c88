//go:build !unix

package pgtest

import "os/exec"

func own(dir string) error { return nil }

func asServer(cmd *exec.Cmd) {}
