package accounts_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/store"
)

var credential = accounts.Credential{Server: "https://cloud.example.org", Username: "ann", Password: "app-p4ssword"}

func TestCredential(t *testing.T) {
	b, ctx := newBed(t), t.Context()
	ann, _ := b.add("ann")
	bob, _ := b.add("bob")
	if _, err := b.Credential(ctx, ann.ID); !errors.Is(err, accounts.ErrNoCredential) {
		t.Errorf("Credential = %v, want ErrNoCredential", err)
	}
	if err := b.SetCredential(ctx, "u_nobody", credential); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("SetCredential of nobody = %v, want ErrNoUser", err)
	}
	if _, err := b.Credential(ctx, accounts.Me); !errors.Is(err, accounts.ErrNoCredential) {
		t.Errorf("Credential of me = %v, want ErrNoCredential", err)
	}
	for _, id := range []string{ann.ID, accounts.Me} {
		if err := b.SetCredential(ctx, id, credential); err != nil {
			t.Fatal(err)
		}
	}
	b.crash()
	for _, id := range []string{ann.ID, accounts.Me} {
		if got, err := b.Credential(ctx, id); err != nil || got != credential {
			t.Errorf("Credential(%s) = %v, %v", id, got, err)
		}
	}
	if _, err := b.Credential(ctx, bob.ID); !errors.Is(err, accounts.ErrNoCredential) {
		t.Errorf("Credential of another = %v, want ErrNoCredential", err)
	}
	for _, c := range []accounts.Credential{{}, {Server: "a", Username: "b"}, {Server: "a", Username: "b", Password: strings.Repeat("x", 5000)}} {
		if err := b.SetCredential(ctx, ann.ID, c); !errors.Is(err, accounts.ErrInvalid) || strings.Contains(err.Error(), "xx") {
			t.Errorf("SetCredential with a bad one = %v, want ErrInvalid", err)
		}
	}
}

// TestTakeCredential has one of several callers get it, and nobody afterwards.
func TestTakeCredential(t *testing.T) {
	b, ctx := newBed(t), t.Context()
	ann, _ := b.add("ann")
	bob, _ := b.add("bob")
	for _, id := range []string{ann.ID, bob.ID, accounts.Me} {
		if err := b.SetCredential(ctx, id, credential); err != nil {
			t.Fatal(err)
		}
	}
	got := make(chan error, 8)
	for range cap(got) {
		go func() {
			c, err := b.TakeCredential(ctx, ann.ID)
			if err == nil && c != credential {
				err = fmt.Errorf("it is %v", c)
			}
			got <- err
		}()
	}
	taken := 0
	for range cap(got) {
		switch err := <-got; {
		case err == nil:
			taken++
		case !errors.Is(err, accounts.ErrNoCredential):
			t.Errorf("TakeCredential = %v", err)
		}
	}
	if taken != 1 {
		t.Errorf("%d callers got the credential, want one", taken)
	}
	b.crash()
	if _, err := b.Credential(ctx, ann.ID); !errors.Is(err, accounts.ErrNoCredential) {
		t.Errorf("Credential after it was taken and a crash = %v, want ErrNoCredential", err)
	}
	other := accounts.New(b.Runtime.Runtime, accounts.MemoryKey())
	if c, err := other.TakeCredential(ctx, accounts.Me); !errors.Is(err, accounts.ErrKey) || c != (accounts.Credential{}) {
		t.Errorf("TakeCredential under another key = %v, %v, want ErrKey", c, err)
	}
	if _, err := b.TakeCredential(ctx, accounts.Me); !errors.Is(err, accounts.ErrNoCredential) {
		t.Errorf("TakeCredential of one that could not be read = %v, want it gone", err)
	}
	if _, err := b.Credential(ctx, bob.ID); err != nil {
		t.Errorf("Credential of another = %v", err)
	}
	if _, err := b.TakeCredential(ctx, "u_nobody"); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("TakeCredential of nobody = %v, want ErrNoUser", err)
	}
}

func TestCredentialIsNotPrinted(t *testing.T) {
	out, _ := json.Marshal(credential)
	for _, s := range []string{fmt.Sprint(credential), fmt.Sprintf("%+v %#v %q", credential, credential, credential), string(out)} {
		if strings.Contains(s, credential.Password) {
			t.Errorf("printed: %s", s)
		}
	}
}

// TestNothingIsStoredInTheClear looks through everything that reaches the engine.
func TestNothingIsStoredInTheClear(t *testing.T) {
	b, ctx := newBed(t), t.Context()
	ann, token := b.add("ann")
	if err := b.SetCredential(ctx, ann.ID, credential); err != nil {
		t.Fatal(err)
	}
	_, secret, _ := strings.Cut(token, ".")
	seen := 0
	for ns := range uint32(4) {
		err := b.Store().Objects(ctx, ns, [32]byte{}, func(id [32]byte, _ *store.Header) bool {
			b.Store().Scan(ctx, store.Object{Namespace: ns, ID: id}, store.Range{}, func(key, value []byte) bool {
				seen++
				for _, s := range []string{secret, credential.Password, credential.Server} {
					if bytes.Contains(value, []byte(s)) {
						t.Errorf("key %q holds a secret in the clear", key)
					}
				}
				return true
			})
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen < 4 {
		t.Errorf("looked at %d keys only", seen)
	}
}

// TestSealedIsBound moves a sealed value to another user.
func TestSealedIsBound(t *testing.T) {
	b, ctx := newBed(t), t.Context()
	ann, _ := b.add("ann")
	bob, _ := b.add("bob")
	if err := b.SetCredential(ctx, ann.ID, credential); err != nil {
		t.Fatal(err)
	}
	sealed := accounts.Sealed(t, b.Runtime.Runtime, ann.ID)
	accounts.PutSealed(t, b.Runtime.Runtime, bob.ID, sealed)
	if got, err := b.Credential(ctx, bob.ID); !errors.Is(err, accounts.ErrKey) {
		t.Errorf("Credential moved to another user = %v, %v, want ErrKey", got, err)
	}
	for i := range sealed {
		damaged := bytes.Clone(sealed)
		damaged[i] ^= 1
		accounts.PutSealed(t, b.Runtime.Runtime, ann.ID, damaged)
		if got, err := b.Credential(ctx, ann.ID); !errors.Is(err, accounts.ErrKey) {
			t.Fatalf("Credential with byte %d changed = %v, %v, want ErrKey", i, got, err)
		}
	}
	accounts.PutSealed(t, b.Runtime.Runtime, ann.ID, sealed)
	if err := b.SetCredential(ctx, ann.ID, credential); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(sealed, accounts.Sealed(t, b.Runtime.Runtime, ann.ID)) {
		t.Error("the same credential sealed twice looks the same: the nonce is not random")
	}
}

func TestKeyFile(t *testing.T) {
	b, ctx := newBed(t), t.Context()
	path := filepath.Join(t.TempDir(), "key")
	with := func(path string) *accounts.Accounts { return accounts.New(b.Runtime.Runtime, accounts.KeyFile(path)) }
	a := with(path)
	if _, err := a.Credential(ctx, accounts.Me); !errors.Is(err, accounts.ErrNoCredential) {
		t.Errorf("Credential = %v, want ErrNoCredential", err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the key file was made before it was needed: %v", err)
	}
	if err := os.WriteFile(path+".new", []byte("half"), 0o644); err != nil { // what a crash left
		t.Fatal(err)
	}
	if err := a.SetCredential(ctx, accounts.Me, credential); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 || info.Size() != 32 {
		t.Errorf("key file: %v, %v, want 32 bytes with mode 0600", info, err)
	}
	if _, err := os.Stat(path + ".new"); !os.IsNotExist(err) {
		t.Errorf("the unfinished file is still there: %v", err)
	}
	if got, err := with(path).Credential(ctx, accounts.Me); err != nil || got != credential {
		t.Errorf("Credential with the file read again = %v, %v", got, err)
	}

	key, _ := os.ReadFile(path)
	refused := func(want string) {
		t.Helper()
		if got, err := with(path).Credential(ctx, accounts.Me); !errors.Is(err, accounts.ErrKey) || !strings.Contains(err.Error(), want) || bytes.Contains([]byte(err.Error()), key) {
			t.Errorf("Credential = %v, %v, want ErrKey with %q", got, err, want)
		}
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o601} {
		os.Chmod(path, mode)
		refused(fmt.Sprintf("mode %04o", mode))
	}
	os.Chmod(path, 0o600)
	os.WriteFile(path, key[:31], 0o600)
	refused("32 bytes")
	if err := with(path).SetCredential(ctx, accounts.Me, credential); !errors.Is(err, accounts.ErrKey) {
		t.Errorf("SetCredential with a bad key file = %v, want ErrKey", err)
	}
	os.WriteFile(path, bytes.Repeat([]byte{7}, 32), 0o600)
	refused("another key")
	os.Remove(path)
	refused("no such file")
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("reading made a new key: %v", err)
	}
	os.Mkdir(path, 0o700)
	refused("must be a file")
}

func TestSettings(t *testing.T) {
	b, ctx := newBed(t), t.Context()
	if got, err := b.Settings(ctx, accounts.Me); got != nil || err != nil {
		t.Errorf("Settings = %s, %v, want none", got, err)
	}
	to := func(s string) func([]byte) ([]byte, error) {
		return func([]byte) ([]byte, error) { return []byte(s), nil }
	}
	for _, bad := range []string{"", "[]", "{", `"x"`, `{"x":"` + strings.Repeat("x", accounts.MaxSettings) + `"}`} {
		if _, err := b.ChangeSettings(ctx, accounts.Me, to(bad)); !errors.Is(err, accounts.ErrInvalid) {
			t.Errorf("ChangeSettings to %.20q = %v, want ErrInvalid", bad, err)
		}
	}
	own := errors.New("own")
	if _, err := b.ChangeSettings(ctx, accounts.Me, func([]byte) ([]byte, error) { return nil, own }); err != own {
		t.Errorf("ChangeSettings = %v, want the function's error", err)
	}
	if _, err := b.ChangeSettings(ctx, "u_nobody", to("{}")); !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("ChangeSettings of nobody = %v, want ErrNoUser", err)
	}

	// A change that another one overtakes is made again on top of that.
	runs := 0
	got, err := b.ChangeSettings(ctx, accounts.Me, func(old []byte) ([]byte, error) {
		if runs++; runs == 1 {
			if _, err := b.ChangeSettings(ctx, accounts.Me, to(`{"first":1}`)); err != nil {
				t.Fatal(err)
			}
		}
		if old == nil {
			return []byte("{}"), nil
		}
		return []byte(strings.TrimSuffix(string(old), "}") + `,"second":2}`), nil
	})
	const want = `{"first":1,"second":2}`
	if string(got) != want || err != nil || runs != 2 {
		t.Errorf("ChangeSettings = %s, %v after %d runs, want %s after 2", got, err, runs, want)
	}
	b.crash()
	if got, err := b.Settings(ctx, accounts.Me); string(got) != want || err != nil {
		t.Errorf("Settings after a crash = %s, %v, want %s", got, err, want)
	}
}

func TestNewWantsAKey(t *testing.T) {
	b := newBed(t)
	defer func() {
		if recover() == nil {
			t.Error("New without a key did not panic")
		}
	}()
	accounts.New(b.Runtime.Runtime, nil)
}

// Processes that share a secret share what is sealed, and a secret can be changed.
func TestSecretKey(t *testing.T) {
	const first, second = "the first secret", "the second one"
	b, ctx := newBed(t), t.Context()
	ann, _ := b.add("ann")
	sealed := func(key *accounts.Key) *accounts.Accounts { return accounts.New(b.Runtime.Runtime, key) }
	if err := sealed(accounts.SecretKey(first)).SetCredential(ctx, ann.ID, credential); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		key  *accounts.Key
		want error
	}{
		{"the same secret", accounts.SecretKey(first), nil},
		{"a new one, and the old one", accounts.SecretKey(second, first), nil},
		{"a new one alone", accounts.SecretKey(second), accounts.ErrKey},
	} {
		if got, err := sealed(c.key).Credential(ctx, ann.ID); !errors.Is(err, c.want) || (err == nil) != (got == credential) {
			t.Errorf("%s: %v, %v, want %v", c.name, got, err, c.want)
		}
	}
	if err := sealed(accounts.SecretKey(second, first)).SetCredential(ctx, ann.ID, credential); err != nil {
		t.Fatal(err)
	}
	if _, err := sealed(accounts.SecretKey(first)).Credential(ctx, ann.ID); !errors.Is(err, accounts.ErrKey) {
		t.Errorf("sealed under the new secret, the old one opens it: %v", err)
	}
}

// A proof is of one credential of one user under one key, whoever asks and when.
func TestProof(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	proof := func(k *accounts.Key, id string, c accounts.Credential) string {
		t.Helper()
		b := newBed(t)
		got, err := accounts.New(b.Runtime.Runtime, k).Proof(id, c)
		if err != nil || len(got) != 22 {
			t.Fatalf("Proof = %q, %v", got, err)
		}
		return got
	}
	c := accounts.Credential{Server: "https://a.example", Username: "u", Password: "p"}
	first := proof(accounts.KeyFile(file), "me", c)
	if again := proof(accounts.KeyFile(file), "me", c); again != first {
		t.Errorf("after a restart %q, want %q", again, first)
	}
	if a, b := proof(accounts.SecretKey("one secret of all"), "me", c), proof(accounts.SecretKey("one secret of all", "an older one"), "me", c); a != b {
		t.Errorf("two nodes: %q and %q", a, b)
	}
	for name, other := range map[string]string{
		"password":  proof(accounts.KeyFile(file), "me", accounts.Credential{Server: c.Server, Username: c.Username, Password: "q"}),
		"user name": proof(accounts.KeyFile(file), "me", accounts.Credential{Server: c.Server, Username: "up", Password: ""}),
		"server":    proof(accounts.KeyFile(file), "me", accounts.Credential{Server: "https://b.example", Username: "u", Password: "p"}),
		"user":      proof(accounts.KeyFile(file), "ann", c),
		"key":       proof(accounts.MemoryKey(), "me", c),
		"secret":    proof(accounts.SecretKey("one secret of all"), "me", c),
	} {
		if other == first {
			t.Errorf("the same proof with another %s", name)
		}
	}
	if err := os.WriteFile(file, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := accounts.New(newBed(t).Runtime.Runtime, accounts.KeyFile(file)).Proof("me", c); got != "" || !errors.Is(err, accounts.ErrKey) {
		t.Errorf("Proof without a key = %q, %v", got, err)
	}
}
