package page

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/healthpool/caddy-healthpool/internal/represent"
)

const svg = `<?xml version="1.0" encoding="UTF-8"?><!-- a logo --><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><path d="M0 0h1v1z"/></svg>`

// file writes a file with this name, and returns its path.
func file(t testing.TB, name string, content []byte) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// picture returns an image of this size with some pixels set.
func picture(width, height int) image.Image {
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	for i := range min(width, height) {
		m.Set(i, i, color.RGBA{uint8(i), uint8(i * 7), 99, 255})
	}
	return m
}

func pngOf(t testing.TB, width, height int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, picture(width, height)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// claiming returns a PNG whose header claims a larger size than it has.
func claiming(t testing.TB, width, height uint32) []byte {
	t.Helper()
	const size, end, sum = 16, 29, 33 // of the chunk IHDR, whose name is at 12
	b := pngOf(t, 4, 4)
	binary.BigEndian.PutUint32(b[size:], width)
	binary.BigEndian.PutUint32(b[size+4:], height)
	binary.BigEndian.PutUint32(b[end:sum], crc32.ChecksumIEEE(b[12:end]))
	return b
}

// TestLogo: the image is part of the page, byte for byte. Its type depends on the content, not on
// the name of the file.
func TestLogo(t *testing.T) {
	small := pngOf(t, 64, 32)
	for _, c := range []struct {
		name, kind string
		content    []byte
	}{
		{"logo.svg", "image/svg+xml", []byte(svg)},
		{"logo.png", "image/png", small},
		{"renamed.svg", "image/png", small},
		{"renamed.png", "image/svg+xml", []byte(svg)},
		{"no-extension", "image/png", small},
		{"as-large-as-may-be.svg", "image/svg+xml", []byte(svg + strings.Repeat("\n", maxLogo-len(svg)))},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPage(t, Options{Logo: file(t, c.name, c.content)})
			w := p.respond(t, ask(http.MethodGet), represent.HTML, notice())
			img := parse(t, w.Body.String()).only(t, "img")
			src, _ := attribute(img, "src")
			data, ok := strings.CutPrefix(src, "data:"+c.kind+";base64,")
			if got, err := base64.StdEncoding.DecodeString(data); !ok || err != nil || !bytes.Equal(got, c.content) {
				t.Errorf("%.60s is not the image: %v", src, err)
			}
			if alt, has := attribute(img, "alt"); !has || alt != "" {
				t.Errorf("alt is %q: a logo next to the name says nothing more", alt)
			}
			mustHave(t, w.Header().Get("Content-Security-Policy"), "img-src data:")
		})
	}
}

// TestLogoRefused: a file that browsers cannot show as an image is refused when the config is
// loaded, with the rule and the name of the file.
func TestLogoRefused(t *testing.T) {
	whole := pngOf(t, 64, 32)
	var photo bytes.Buffer
	if err := jpeg.Encode(&photo, picture(8, 8), nil); err != nil {
		t.Fatal(err)
	}
	const kind, size = "must be a PNG image, or an SVG with xmlns=\"http://www.w3.org/2000/svg\"", "must be at most 32 KiB"
	for _, c := range []struct {
		name, want, content string
	}{
		{"empty.svg", kind, ""},
		{"too-big.svg", size, svg + strings.Repeat("\n", maxLogo-len(svg)+1)},
		{"page.svg", kind, "<!doctype html><html><title>x</title><svg></svg></html>"},
		{"page-as-xml.svg", kind, `<html xmlns="http://www.w3.org/1999/xhtml"><svg xmlns="http://www.w3.org/2000/svg"/></html>`},
		{"text.png", kind, "hello"},
		{"photo.png", kind, photo.String()},
		{"truncated.png", kind, string(whole[:len(whole)/2])},
		{"header-only.png", kind, string(whole[:33])},
		{"huge.png", kind, string(claiming(t, 100_000, 100_000))},
		{"wide.png", kind, string(pngOf(t, 4097, 1))},
		{"high.png", kind, string(pngOf(t, 1, 4097))},
		{"more-than-there-is.png", kind, string(claiming(t, 4096, 4096))},
		{"unclosed.svg", kind, strings.TrimSuffix(svg, "</svg>")},
		{"bomb.svg", kind, `<!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><svg xmlns="http://www.w3.org/2000/svg">&b;&b;</svg>`},
		{"two.svg", kind, svg[strings.Index(svg, "<svg"):] + "<p/>"},
		{"no-namespace.svg", kind, "<svg/>"},
		{"not-utf-8.svg", kind, strings.Replace(svg, "M0", "\xff\xfe", 1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := file(t, c.name, []byte(c.content))
			_, err := New(Options{Logo: name})
			if err == nil {
				t.Fatal("is accepted")
			}
			if want := "logo: " + name + ": " + c.want; !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

// TestFilesMissing: the error about an unreadable file names the option and the file.
func TestFilesMissing(t *testing.T) {
	missing, folder := filepath.Join(t.TempDir(), "nowhere.svg"), t.TempDir()
	for field, set := range map[string]func(*Options, string){
		"logo":     func(o *Options, name string) { o.Logo = name },
		"template": func(o *Options, name string) { o.Template = name },
	} {
		for _, name := range []string{missing, folder} {
			var o Options
			set(&o, name)
			if _, err := New(o); err == nil || !strings.HasPrefix(err.Error(), field+": ") || !strings.Contains(err.Error(), name) {
				t.Errorf("%s %s: got %v", field, name, err)
			}
		}
	}
}
