package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/perdure/perdure/store/pgstore/pgtest"
)

// TestClusterCommands looks at two nodes and drains one, from a third process.
func TestClusterCommands(t *testing.T) {
	db := pgtest.Shared(t).Database(t)
	dir := t.TempDir()
	look := func() clusterView {
		t.Helper()
		code, out, stderr := command(t, dir, nil, "cluster", "status", "--json", "--store", db)
		var views []clusterView
		if err := json.Unmarshal([]byte(out), &views); code != 0 || err != nil || len(views) != 1 {
			t.Fatalf("cluster status = %d %s%s", code, out, stderr)
		}
		return views[0]
	}
	until := func(what string, ok func(clusterView) bool) clusterView {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
			v := look()
			if ok(v) {
				return v
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: after two minutes it is %+v", what, v)
			}
		}
	}
	var nodes []*process
	for range 2 {
		nodes = append(nodes, launch(t, dir, nodeEnv, nodeArgs(db)...))
	}
	for _, p := range nodes {
		select {
		case <-p.ready():
		case <-time.After(2 * time.Minute):
			t.Fatalf("a node did not start: %s", p.stderr)
		}
	}
	shared := until("both serve", func(v clusterView) bool {
		return v.Free == 0 && len(v.Nodes) == 2 && v.Nodes[0].Shards > 0 && v.Nodes[1].Shards > 0
	})
	for _, n := range shared.Nodes {
		if n.State != "serving" || n.LeaseLeft <= 0 || n.LeaseLeft > 10*time.Second {
			t.Errorf("node %+v, want it serving with up to 10s left", n)
		}
	}
	if shared.Epochs < int64(shared.Shards) || shared.Nodes[0].Shards+shared.Nodes[1].Shards != shared.Shards {
		t.Errorf("status = %+v", shared)
	}

	name, other := shared.Nodes[0].Node, shared.Nodes[1].Node
	if code, _, stderr := command(t, dir, nil, "cluster", "drain", name, "--store", db); code != 0 || !strings.Contains(stderr, "owns no shards") {
		t.Fatalf("cluster drain = %d %s", code, stderr)
	}
	v := look()
	if v.Nodes[0].State != "draining" || v.Nodes[0].Shards != 0 {
		t.Errorf("after the drain it is %+v", v.Nodes[0])
	}
	until("the other one has them", func(v clusterView) bool { return v.Nodes[1].Shards == v.Shards })
	for _, p := range nodes { // and both answer
		if code, body := p.do("POST", "/objects/SESSIONS/o/create", `{"data":{"n":1}}`, bearer...); code != 200 {
			t.Errorf("create = %d %s", code, body)
		}
	}

	for _, test := range []struct {
		node, says string
	}{
		{other, "no other node"},
		{"10.9.8.7:1", "no node of that name; there are " + other},
	} {
		if code, _, stderr := command(t, dir, nil, "cluster", "drain", test.node, "--store", db); code != 1 || !strings.Contains(stderr, test.says) {
			t.Errorf("cluster drain %s = %d %s, want 1 and %q", test.node, code, stderr, test.says)
		}
	}
	if code, _, stderr := command(t, dir, nil, "cluster", "status", "--store", "pebble:x"); code != 2 {
		t.Errorf("cluster status of a folder = %d %s, want 2", code, stderr)
	}

	if code, _, stderr := command(t, dir, nil, "cluster", "drain", name, "--undo", "--store", db); code != 0 {
		t.Fatalf("cluster drain --undo = %d %s", code, stderr)
	}
	until("it has shards again", func(v clusterView) bool {
		return v.Nodes[0].State == "serving" && v.Nodes[0].Shards == shared.Nodes[0].Shards
	})

	code, out, _ := command(t, dir, nil, "cluster", "status", "--shards", "--store", db)
	if code != 0 || !strings.Contains(out, "0 without an owner") || strings.Count(out, name)+strings.Count(out, other) != 2+shared.Shards {
		t.Errorf("cluster status --shards = %d %s", code, out)
	}
	if password := pgtest.Password; strings.Contains(out, password) {
		t.Error("the status shows the password")
	}
}
