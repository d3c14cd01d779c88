package pgtest

import (
	"context"
	"os"
	"testing"
)

// A server takes connections, is what it says after a crash too, and is gone at the end.
func TestServer(t *testing.T) {
	var dir string
	t.Run("life", func(t *testing.T) {
		s := New(t, "work_mem=5MB")
		dir = s.Dir
		db := s.NewDatabase(t)
		s.Exec(t, db, "CREATE TABLE t (n int); INSERT INTO t VALUES (42)")
		if err := s.Stop("immediate"); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		var n int
		var mem string
		err := s.Connect(t, db).QueryRow(context.Background(), "SELECT n, current_setting('work_mem') FROM t").Scan(&n, &mem)
		if err != nil || n != 42 || mem != "5MB" {
			t.Errorf("after a crash: %d, %s, %v", n, mem, err)
		}
	})
	if _, err := os.Stat(dir); dir != "" && !os.IsNotExist(err) {
		t.Errorf("the folder of the server is there after the test: %v", err)
	}
}
