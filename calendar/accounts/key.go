package accounts

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
)

// keySize is that of AES-256.
const keySize = 32

// sealVersion begins what is sealed.
const sealVersion = 1

// Key is what credentials are sealed under. It may be used by any goroutine.
type Key struct {
	path string        // "" for one in memory
	old  []cipher.AEAD // that open what was sealed before

	mu    sync.Mutex  // guards aead and proof
	aead  cipher.AEAD // nil until it is needed
	proof []byte      // the key of proofs; with aead
}

// KeyFile returns the key in a file that only its owner can read. It is read, or made,
// when it is first needed; after an error it is tried again the next time. Only the
// process that holds the data may use it: two that make the file at once are not told apart.
func KeyFile(path string) *Key { return &Key{path: path} }

// MemoryKey returns a new key that is never written anywhere.
func MemoryKey() *Key { return newSecretKey(newKey()) }

func newSecretKey(key []byte) *Key { return &Key{aead: newAEAD(key), proof: derive(key, proofKey)} }

// SecretKey returns a key that is derived from a secret that several processes share.
// What was sealed under one of the old secrets it still opens. Secrets should be random:
// nothing here makes guessing slow.
func SecretKey(secret string, old ...string) *Key {
	k := newSecretKey(derive([]byte(secret), sealKey))
	for _, s := range old {
		k.old = append(k.old, newAEAD(derive([]byte(s), sealKey)))
	}
	return k
}

// What keys are derived for.
const (
	sealKey  = "perdure credentials 1"
	proofKey = "perdure proofs 1"
)

func derive(secret []byte, purpose string) []byte {
	key, err := hkdf.Key(sha256.New, secret, nil, purpose, keySize)
	if err != nil {
		panic(err) // only for a length that is too great
	}
	return key
}

func newKey() []byte {
	key := make([]byte, keySize)
	rand.Read(key)
	return key
}

// newAEAD puts a random nonce of 96 bits before what it seals: enough for the few
// billion values that one key may seal.
func newAEAD(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err == nil {
		var aead cipher.AEAD
		if aead, err = cipher.NewGCMWithRandomNonce(block); err == nil {
			return aead
		}
	}
	panic(err) // only for a key of the wrong size
}

// prove returns a keyed hash of text.
func (k *Key) prove(text []byte) (string, error) {
	if _, err := k.load(true); err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, k.proof)
	mac.Write(text)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16]), nil
}

// seal encrypts text for one purpose of one user.
func (k *Key) seal(purpose, id string, text []byte) ([]byte, error) {
	aead, err := k.load(true)
	if err != nil {
		return nil, err
	}
	return aead.Seal([]byte{sealVersion}, nil, text, additional(purpose, id)), nil
}

// open decrypts what seal made for the same purpose and user.
func (k *Key) open(purpose, id string, sealed []byte) ([]byte, error) {
	aead, err := k.load(false)
	if err != nil {
		return nil, err
	}
	if len(sealed) == 0 || sealed[0] != sealVersion {
		return nil, fmt.Errorf("%w: sealed by another version of this program", ErrKey)
	}
	text, err := aead.Open(nil, nil, sealed[1:], additional(purpose, id))
	for i := 0; err != nil && i < len(k.old); i++ {
		text, err = k.old[i].Open(nil, nil, sealed[1:], additional(purpose, id))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: it was sealed under another key than that of %s: put the old file back, or log in again", ErrKey, k.where())
	}
	return text, nil
}

func additional(purpose, id string) []byte { return []byte("perdure\x00" + purpose + "\x00" + id) }

func (k *Key) where() string {
	if k.path == "" {
		return "this process"
	}
	return k.path
}

func (k *Key) load(create bool) (cipher.AEAD, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.aead != nil {
		return k.aead, nil
	}
	key, err := readKey(k.path)
	if errors.Is(err, fs.ErrNotExist) && create {
		key = newKey()
		err = writeKey(k.path, key)
	}
	if err != nil {
		return nil, fmt.Errorf("%w file: %w", ErrKey, err)
	}
	k.aead, k.proof = newAEAD(key), derive(key, proofKey)
	return k.aead, nil
}

// readKey refuses what others could have read or put there. The mode says nothing on Windows.
func readKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() != keySize {
		return nil, fmt.Errorf("%s is no key: it must be a file of %d bytes", path, keySize)
	}
	if open := info.Mode().Perm() & 0o077; open != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("%s may be read or changed by others (mode %04o): chmod 600 it, and consider its credentials known", path, info.Mode().Perm())
	}
	key, err := os.ReadFile(path)
	if err == nil && len(key) != keySize {
		err = fmt.Errorf("%s changed while it was read", path)
	}
	return key, err
}

// writeKey makes the file appear whole and durable, or not at all: a key of which a
// crash left a part would be refused for ever.
func writeKey(path string, key []byte) error {
	part := path + ".new"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(key)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(part, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes a new name in a folder durable. Windows has no way to, and needs none.
func syncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
