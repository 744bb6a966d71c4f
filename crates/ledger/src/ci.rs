//! Which CI job this is.

use crate::entry::{Ci, one_line};

/// The job that this process runs in, from the environment variables of CircleCI, GitHub Actions and GitLab CI.
pub fn ci() -> Option<Ci> {
    of(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

fn of(variable: &dyn Fn(&str) -> Option<String>) -> Option<Ci> {
    let text = |name: &str| variable(name).map(|text| one_line(&text, 300));
    // Only the web pages of jobs: a URL with a password would stay on record for ever.
    let page = |url: String| (url.starts_with("https://") && !url.contains('@')).then_some(url);
    if variable("CIRCLECI").is_some() {
        return Some(Ci {
            system: "circleci".into(),
            url: text("CIRCLE_BUILD_URL").and_then(page),
            name: text("CIRCLE_JOB"),
            commit: text("CIRCLE_SHA1"),
        });
    }
    if variable("GITHUB_ACTIONS").is_some() {
        let url = match (text("GITHUB_SERVER_URL"), text("GITHUB_REPOSITORY"), text("GITHUB_RUN_ID")) {
            (Some(server), Some(repository), Some(run)) => {
                page(format!("{server}/{repository}/actions/runs/{run}"))
            }
            _ => None,
        };
        return Some(Ci {
            system: "github".into(),
            url,
            name: text("GITHUB_JOB"),
            commit: text("GITHUB_SHA"),
        });
    }
    variable("GITLAB_CI").map(|_| Ci {
        system: "gitlab".into(),
        url: text("CI_JOB_URL").and_then(page),
        name: text("CI_JOB_NAME"),
        commit: text("CI_COMMIT_SHA"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &'static [(&str, &str)]) -> Option<Ci> {
        of(&|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn jobs_are_known_by_their_systems_variables() {
        assert_eq!(with(&[("CI", "true")]), None);
        let job = with(&[
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_REPOSITORY", "example/shop"),
            ("GITHUB_RUN_ID", "42"),
            ("GITHUB_JOB", "deploy"),
        ]);
        assert_eq!(job.unwrap().url.unwrap(), "https://github.com/example/shop/actions/runs/42");
        let job = with(&[
            ("CIRCLECI", "true"),
            ("CIRCLE_BUILD_URL", "https://u:p@ci.example.org/1"),
            ("CIRCLE_JOB", "a\nb"),
        ]);
        let job = job.unwrap();
        assert_eq!((job.url, job.name.as_deref()), (None, Some("a b")));
        let job = with(&[("GITLAB_CI", "true"), ("CI_JOB_URL", "https://gitlab.example.org/j/1")]).unwrap();
        assert_eq!((job.system.as_str(), job.url.is_some()), ("gitlab", true));
    }
}
