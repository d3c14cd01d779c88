package main

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perdure/perdure/store/pebblestore"
)

func TestSocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, ".perdure", socketName)
	p := start(t, dir, nil, serveArgs...)
	mode := func() fs.FileMode {
		t.Helper()
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode()
	}
	if got, want := mode(), fs.ModeSocket|0o600; got != want {
		t.Errorf("mode of the socket = %v, want %v", got, want)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 2 {
		t.Errorf("the data folder holds %v, %v, want store and socket", entries, err)
	}
	os.Chmod(path, 0o666)
	if code, _, stderr := command(t, dir, nil, "users", "list"); code != 1 || !strings.Contains(stderr, "only its owner") {
		t.Errorf("users list with a socket that is open to others = %d %s, want 1", code, stderr)
	}
	os.Chmod(path, 0o600)

	// What a killed process leaves is in nobody's way.
	p.kill()
	mode()
	addUser(t, dir, "ann")
	p = start(t, dir, nil, serveArgs...)
	addUser(t, dir, "bob")
	if list := users(t, dir); !strings.Contains(list, "ann") || !strings.Contains(list, "bob") {
		t.Errorf("users list:\n%s", list)
	}
	if code := p.stop(); code != 0 {
		t.Errorf("exit status %d: %s", code, p.stderr)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there after the end: %v", err)
	}
}

// TestSocketInLongPath has a data folder whose path no socket's address can hold.
func TestSocketInLongPath(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, strings.Repeat("long", 20), strings.Repeat("path", 20))
	temp := t.TempDir()
	env := []string{"TMPDIR=" + temp}
	p := start(t, dir, env, append(serveArgs, "--data", data)...)
	for _, name := range []string{"ann", "bob"} {
		if code, _, stderr := command(t, dir, env, "users", "add", name, "--data", data); code != 0 {
			t.Errorf("users add %s = %d %s", name, code, stderr)
		}
	}
	if got, err := os.ReadDir(data); err != nil || len(got) != 2 {
		t.Errorf("the data folder holds %v, %v, want store and socket", got, err)
	}
	p.stop()
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left in the folder for temporary files: %v, %v", left, err)
	}
}

func TestSocketOfAnotherStore(t *testing.T) {
	dir := t.TempDir()
	args := append(serveArgs, "--store", "pebble:elsewhere")
	p := start(t, dir, nil, args...)
	if code, _, stderr := command(t, dir, nil, "users", "add", "ann", "--store", "pebble:elsewhere"); code != 0 {
		t.Errorf("users add = %d %s", code, stderr)
	}
	p.stop()
	p = start(t, dir, nil, args...) // the engine does not mind the key and socket in its folder
	if code, out, stderr := command(t, dir, nil, "users", "list", "--store", "pebble:elsewhere"); code != 0 || !strings.Contains(out, "ann") {
		t.Errorf("users list = %d %s %s", code, out, stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, ".perdure")); !os.IsNotExist(err) {
		t.Errorf("the default data folder was made: %v", err)
	}
}

// TestHeldData has another process hold the data that does not listen: first for a
// while, then too long.
func TestHeldData(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	addUser(t, dir, "ann")
	hold := func() *pebblestore.Store {
		t.Helper()
		st, err := pebblestore.Open(filepath.Join(dir, ".perdure", "store"), nil)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	st := hold()
	p := launch(t, dir, nil, "users", "list")
	ended := p.ready()
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	<-ended
	if code := p.wait(); code != 0 || !strings.Contains(p.stdout.String(), "ann") {
		t.Errorf("users list of data that is held for a moment = %d %s %s", code, p.stdout, p.stderr)
	}

	st = hold()
	defer st.Close()
	began := time.Now()
	code, _, stderr := command(t, dir, nil, "users", "list")
	if code != 1 || !strings.Contains(stderr, "another process") || !strings.Contains(stderr, socketName) {
		t.Errorf("users list of held data = %d %s, want 1 and who does not answer where", code, stderr)
	}
	if waited := time.Since(began); waited < patience {
		t.Errorf("it waited %v only, want %v", waited, patience)
	}
}

func TestListenSocketReplaces(t *testing.T) {
	dir := t.TempDir()
	if _, err := dialSocket(t.Context(), dir); !errors.Is(err, errNobody) {
		t.Errorf("dialSocket of nothing = %v, want errNobody", err)
	}
	old, err := listenSocket(dir)
	if err != nil {
		t.Fatal(err)
	}
	old.Close()
	if _, err := dialSocket(t.Context(), dir); !errors.Is(err, errNobody) {
		t.Errorf("dialSocket of a stale one = %v, want errNobody", err)
	}
	l, err := listenSocket(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn)
	go func() {
		conn, _ := l.Accept()
		accepted <- conn
	}()
	conn, err := dialSocket(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	(<-accepted).Close()
}
