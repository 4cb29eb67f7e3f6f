package e2e

import (
	"bytes"
	"flag"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
)

var update = flag.Bool("update", false, "write the README's screenshots of the page to ../docs")

// TestScreenshot takes the pictures of the README. They are written with
//
//	go -C e2e test -run Screenshot -update
func TestScreenshot(t *testing.T) {
	const width, height, scale = 800, 600, 2
	for _, theme := range []string{"light", "dark"} {
		t.Run(theme, func(t *testing.T) {
			b := openTab(t)
			site, _ := newSite(t, " {\n\t\tpage {\n\t\t\tservice example.com\n\t\t}\n\t}")
			b.do("choosing the theme",
				chromedp.EmulateViewport(width, height, chromedp.EmulateScale(scale)), emulateTheme(theme))
			b.visit(site)
			b.await(isPage)
			if b.eval(`document.documentElement.scrollWidth > innerWidth`) == "true" {
				t.Error("the page is wider than its window")
			}
			picture := run(b, "taking the picture", chromedp.CaptureScreenshot())
			config, err := png.DecodeConfig(bytes.NewReader(picture))
			if err == nil && *update {
				err = os.WriteFile(filepath.Join("..", "docs", "page-"+theme+".png"), picture, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			if config.Width != width*scale || config.Height != height*scale {
				t.Errorf("the picture is %d×%d, want %d×%d", config.Width, config.Height, width*scale, height*scale)
			}
			b.wantNoProblems()
		})
	}
}

func emulateTheme(theme string) chromedp.Action[chromedp.Void] {
	return emulateMedia("", map[string]string{"prefers-color-scheme": theme})
}
