package kafkadist

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestMissingJavaIsExplained(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("JAVA_HOME", "")
	_, err := Find(t.Context(), "", t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "there is no java on the PATH") || !strings.Contains(err.Error(), "--brokers") {
		t.Errorf("got %v", err)
	}
}

// fakePrograms puts shell scripts on the PATH, and nothing else.
func fakePrograms(t *testing.T, scripts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	t.Setenv("JAVA_HOME", "")
}

func TestMissingMavenIsExplained(t *testing.T) {
	fakePrograms(t, map[string]string{"java": "echo a version"})
	_, err := Find(t.Context(), "", t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "there is no mvn on the PATH") || !strings.Contains(err.Error(), Version) {
		t.Errorf("got %v", err)
	}
}

func TestFailingMavenIsQuoted(t *testing.T) {
	fakePrograms(t, map[string]string{"java": "echo a version", "mvn": "echo no route to host; exit 1"})
	_, err := Find(t.Context(), "", t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "could not fetch") || !strings.Contains(err.Error(), "no route to host") {
		t.Errorf("got %v", err)
	}
}

// Maven is asked once; a jar that has gone, or another pom, asks it again.
func TestClassPathIsKept(t *testing.T) {
	cache := t.TempDir()
	jar := filepath.Join(cache, "kafka_2.13-4.3.1.jar")
	resolve := `for a; do case $a in -Dmdep.outputFile=*) printf %s '` + jar + `' >"${a#-Dmdep.outputFile=}"; echo asked >>` + cache + `/asked;; esac; done`
	fakePrograms(t, map[string]string{"java": "echo 'openjdk version 17'; echo more", "mvn": resolve})
	asked := func(jarThere bool) int {
		t.Helper()
		os.Remove(jar)
		if jarThere {
			if err := os.WriteFile(jar, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		home, err := Find(t.Context(), "", cache)
		if err != nil {
			t.Fatal(err)
		}
		if home.classPath != jar || home.Version != "4.3.1" || home.JavaVersion != "openjdk version 17" {
			t.Errorf("got %+v", *home)
		}
		data, _ := os.ReadFile(filepath.Join(cache, "asked"))
		return strings.Count(string(data), "asked")
	}
	if n := asked(true); n != 1 {
		t.Errorf("asked %d times at first", n)
	}
	if n := asked(true); n != 1 {
		t.Errorf("asked %d times with all in place", n)
	}
	if n := asked(false); n != 2 {
		t.Errorf("asked %d times with a jar gone", n)
	}
}

func TestUnpackedRelease(t *testing.T) {
	fakePrograms(t, map[string]string{"java": "echo a version"})
	release := t.TempDir()
	if _, err := Find(t.Context(), release, t.TempDir()); err == nil || !strings.Contains(err.Error(), "holds no libs/*.jar") {
		t.Errorf("an empty folder: %v", err)
	}
	libs := filepath.Join(release, "libs")
	if err := os.Mkdir(libs, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kafka_2.13-3.9.0.jar", "other.jar"} {
		if err := os.WriteFile(filepath.Join(libs, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	home, err := Find(t.Context(), release, t.TempDir())
	if err != nil || home.Version != "3.9.0" || len(strings.Split(home.classPath, ":")) != 2 {
		t.Errorf("%+v, %v", home, err)
	}
	argv := home.Command([]string{"-Xmx1G"}, MainClass, "file")
	if argv[0] != "-Xmx1G" || !slices.Contains(argv, "-XX:+UseG1GC") || argv[len(argv)-1] != "file" {
		t.Errorf("%v", argv)
	}
}

func TestPinnedVersionIsOne(t *testing.T) {
	if !strings.Contains(string(pom), "<kafka.version>"+Version+"</kafka.version>") {
		t.Errorf("pom.xml pins another release than %s", Version)
	}
}
