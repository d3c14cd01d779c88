// Package servertest runs calendar servers that nobody here wrote, of Debian's packages,
// for tests. A test whose server is not installed is skipped and says so.
package servertest

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Radicale starts a Radicale on loopback and returns its address. passwords are its users'
// by name; without any everybody is let in. It ends with the test.
func Radicale(t testing.TB, passwords map[string]string) (address string) {
	t.Helper()
	dir := t.TempDir()
	auth := []string{"--auth-type", "none"}
	if len(passwords) > 0 {
		var lines strings.Builder
		for name, password := range passwords {
			lines.WriteString(name + ":" + password + "\n")
		}
		file := filepath.Join(dir, "users")
		if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		auth = []string{"--auth-type", "htpasswd", "--auth-htpasswd-filename", file, "--auth-htpasswd-encryption", "plain", "--auth-delay", "0"}
	}
	return serve(t, "radicale", "Radicale server ready", func(port string) []string {
		return append([]string{"--config", "", "--server-hosts", "127.0.0.1:" + port, "--logging-level", "info",
			"--storage-filesystem-folder", filepath.Join(dir, "data")}, auth...)
	})
}

// Xandikos starts a Xandikos on loopback, whose one user is let in with any password, and
// returns its address. It ends with the test.
func Xandikos(t testing.TB, user string) (address string) {
	t.Helper()
	dir := t.TempDir()
	return serve(t, "xandikos", "Running on", func(port string) []string {
		return []string{"-d", dir, "--defaults", "-l", "127.0.0.1", "-p", port, "--current-user-principal", "/" + user + "/"}
	})
}

// serve starts a server on a free port and waits until it says that it is ready.
func serve(t testing.TB, name, ready string, args func(port string) []string) (address string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a server")
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed (Debian package %s): scripts/test-deps.sh", name, name)
	}
	for range 3 { // another process may take the port in between
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		l.Close()
		output, ok := start(t, exec.CommandContext(t.Context(), path, args(port)...), ready)
		if ok {
			return "http://127.0.0.1:" + port
		}
		t.Logf("%s did not start: %s", name, output)
	}
	t.Fatalf("%s does not start", name)
	return ""
}

func start(t testing.TB, cmd *exec.Cmd, ready string) (output string, ok bool) {
	cmd.Env = append(os.Environ(), "PYTHONUNBUFFERED=1")
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		w.Close()
		close(ended)
	}()
	for lines := bufio.NewScanner(r); lines.Scan(); {
		output += lines.Text() + "\n"
		if strings.Contains(lines.Text(), ready) {
			go io.Copy(io.Discard, r)
			t.Cleanup(func() {
				cmd.Process.Kill()
				<-ended
			})
			return output, true
		}
	}
	<-ended
	return output, false
}
