package dashboard

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed static
var staticFiles embed.FS

// static serves the embedded files under names that carry the hash of their content, so that browsers may keep them for good.
type static struct {
	urls  map[string]string // by name: "app.css" → "/static/app.1f2e3d4c5b6a.css"
	files map[string]staticFile
}

type staticFile struct {
	name, hash string
	content    []byte
}

func newStatic() (*static, error) {
	s := &static{urls: map[string]string{}, files: map[string]staticFile{}}
	entries, err := fs.ReadDir(staticFiles, "static")
	if err != nil {
		return nil, fmt.Errorf("read embedded files: %w", err)
	}
	for _, e := range entries {
		content, err := fs.ReadFile(staticFiles, "static/"+e.Name())
		if err != nil {
			return nil, fmt.Errorf("read embedded file: %w", err)
		}
		sum := sha256.Sum256(content)
		hash := hex.EncodeToString(sum[:6])
		ext := path.Ext(e.Name())
		url := "/static/" + strings.TrimSuffix(e.Name(), ext) + "." + hash + ext
		s.urls[e.Name()], s.files[url] = url, staticFile{e.Name(), hash, content}
	}
	return s, nil
}

// url is the address of a file; a name that does not exist is an error of the template.
func (s *static) url(name string) (string, error) {
	u, ok := s.urls[name]
	if !ok {
		return "", fmt.Errorf("no embedded file %q", name)
	}
	return u, nil
}

// ServeHTTP serves one file.
func (s *static) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := s.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("ETag", `"`+f.hash+`"`)
	http.ServeContent(w, r, f.name, time.Time{}, bytes.NewReader(f.content))
}
