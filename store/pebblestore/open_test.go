package pebblestore

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perdure/perdure/store"
)

var ctx = context.Background()

// openerDir tells a test binary that it is a second process that opens a store.
// It prints what came of it and keeps the store until its input ends.
const openerDir = "PERDURE_PEBBLESTORE_OPEN_DIR"

func openerMain() {
	dir := os.Getenv(openerDir)
	if dir == "" {
		return
	}
	s, err := Open(dir, nil)
	fmt.Println(err, errors.Is(err, store.ErrInUse), errors.Is(err, store.ErrNewerFormat))
	io.Copy(io.Discard, os.Stdin)
	if s != nil {
		s.Close()
	}
	os.Exit(0)
}

// opener starts a second process that opens dir, and returns what it printed and a
// function that ends it.
func opener(t *testing.T, dir string) (string, func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), openerDir+"="+dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the second process printed %q, %v", line, err)
	}
	end := func() {
		in.Close()
		cmd.Wait()
	}
	t.Cleanup(end)
	return strings.TrimSpace(line), end
}

func TestInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()

	got, end := opener(t, dir)
	end()
	if !strings.HasSuffix(got, " true false") || !strings.Contains(got, dir) {
		t.Errorf("Open in a second process = %q, want ErrInUse and %q", got, dir)
	}
	if _, err := Open(dir, nil); !errors.Is(err, store.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second Open in this process = %v, want ErrInUse and %q", err, dir)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Dir(dir), link); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(link, "data"), nil); !errors.Is(err, store.ErrInUse) {
		t.Errorf("Open by another path = %v, want ErrInUse", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	got, end = opener(t, dir)
	if got != "<nil> false false" {
		t.Errorf("Open in a second process after Close = %q, want success", got)
	}
	if _, err := Open(dir, nil); !errors.Is(err, store.ErrInUse) {
		t.Errorf("Open while a second process has it = %v, want ErrInUse", err)
	}
	end()
	if s, err = Open(dir, nil); err != nil {
		t.Fatalf("Open after the second process has ended = %v", err)
	}
	s.Close()
}

func TestNewerFormat(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.db.Set([]byte{tagFormat}, binary.BigEndian.AppendUint32(nil, formatVersion+6), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for range 2 { // a refusal leaves it as it was, and free
		_, err := Open(dir, nil)
		if !errors.Is(err, store.ErrNewerFormat) {
			t.Fatalf("Open = %v, want ErrNewerFormat", err)
		}
		for _, want := range []string{dir, fmt.Sprint(formatVersion), fmt.Sprint(formatVersion + 6)} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("Open = %q, want %q in it", err, want)
			}
		}
	}
	got, end := opener(t, dir)
	end()
	if !strings.HasSuffix(got, " false true") {
		t.Errorf("Open in a second process = %q, want ErrNewerFormat", got)
	}
}

func TestNewerPebbleFormat(t *testing.T) {
	for _, version := range []uint64{uint64(pebbleFormat) + 1, 999} {
		dir := filepath.Join(t.TempDir(), "data")
		s, err := Open(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		markers, err := filepath.Glob(filepath.Join(dir, "marker.format-version.*"))
		if err != nil || len(markers) != 1 {
			t.Fatalf("format markers: %v, %v", markers, err)
		}
		newer := fmt.Sprintf("marker.format-version.999999.%03d", version)
		if err := os.Rename(markers[0], filepath.Join(dir, newer)); err != nil {
			t.Fatal(err)
		}
		_, err = Open(dir, nil)
		if !errors.Is(err, store.ErrNewerFormat) || !strings.Contains(err.Error(), fmt.Sprint(version)) || !strings.Contains(err.Error(), dir) {
			t.Errorf("Open = %v, want ErrNewerFormat, %d and %q", err, version, dir)
		}
	}
}

func TestForeignDatabase(t *testing.T) {
	mem := vfs.NewMem()
	db, err := pebble.Open("data", &pebble.Options{FS: mem, Logger: pebbleLogger{&Store{log: slog.New(slog.DiscardHandler)}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Set([]byte("k"), nil, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if s, err := Open("data", small(mem)); err == nil {
		s.Close()
		t.Errorf("Open of another program's database succeeded")
	}
}

func TestDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode of the directory = %v, %v, want 0700", info.Mode(), err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file, nil); err == nil || errors.Is(err, store.ErrInUse) {
		t.Errorf("Open of a file = %v, want another error than ErrInUse", err)
	}
}

// The directory itself survives a power failure right after Open, and its parents.
func TestDirectoryIsSynced(t *testing.T) {
	mem := vfs.NewCrashableMem()
	s, err := Open("a/b/c", small(mem))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	clone := mem.CrashClone(vfs.CrashCloneCfg{})
	if _, err := clone.Stat("a/b/c"); errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after a power failure: %v", err)
	}
}

func TestOpenNamesTheDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "store")} {
		if _, err := Open(dir, nil); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("Open(%q) = %v, want an error that names it", dir, err)
		}
	}
}
