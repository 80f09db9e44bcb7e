use super::*;

const LONG: Duration = Duration::from_secs(30);

fn shell(script: &str) -> Argv {
    Argv::new(["/bin/sh", "-c", script].map(str::to_owned).into()).unwrap()
}

#[tokio::test]
async fn a_program_gets_its_input_its_variables_and_nothing_else_of_this_process() {
    let script = "cat; env | grep -v -E '^(PWD|SHLVL|_|OLDPWD)=' | cut -d= -f1 | sort; pwd";
    let variables = [("CERTGATE_EVENT", "renewed".to_owned())];
    let output = shell(script).run(b"{}\n", &variables, LONG).await.unwrap();
    let mut lines = output.lines();
    assert_eq!(lines.next(), Some("{}"));
    assert_eq!(lines.next_back(), Some("/"));
    for name in lines {
        let allowed = ["CERTGATE_EVENT", "HOME", "LANG", "LC_ALL", "PATH", "TZ"];
        assert!(allowed.contains(&name), "{name} came through");
    }
    assert!(std::env::vars().count() > 6, "there was something to keep back");
}

#[tokio::test]
async fn a_failure_tells_the_status_and_the_end_of_what_was_written() {
    let error = shell("echo to one; echo to two >&2; exit 7")
        .run(b"", &[], LONG)
        .await;
    let text = error.unwrap_err().to_string();
    assert!(
        text.starts_with("/bin/sh ended with exit status: 7, and wrote: "),
        "{text}"
    );
    assert!(text.contains("to one") && text.contains("to two"), "{text}");
}

#[tokio::test]
async fn a_program_that_hangs_is_ended_with_all_that_it_has_started_though_it_does_not_want_to() {
    // Both the program and its child ignore SIGTERM.
    let script = "trap '' TERM; echo $$; sleep 600 & echo $!; wait; wait";
    let error = shell(script)
        .run(b"", &[], Duration::from_millis(300))
        .await
        .unwrap_err();
    let CommandError::TooLong { output, .. } = error else {
        panic!("{error}");
    };
    let pids: Vec<_> = output.lines().map(str::to_owned).collect();
    assert_eq!(pids.len(), 2, "{output}");
    let deadline = Instant::now() + LONG;
    let runs = |pid: &String| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // One that has ended and that nobody has asked about is not running.
        !stat.is_empty() && !stat.contains(") Z ")
    };
    while pids.iter().any(runs) {
        assert!(Instant::now() < deadline, "still running: {pids:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_program_that_reads_nothing_and_writes_much_is_not_waited_for_in_vain() {
    let input = vec![b'x'; 1 << 20];
    let script = "head -c 3000000 /dev/zero | tr '\\0' 'y'; echo end";
    let output = shell(script).run(&input, &[], LONG).await.unwrap();
    assert!(
        output.starts_with('…') && output.ends_with("yend\n"),
        "{}",
        output.len()
    );
    assert!(output.len() <= 2048 + 4);
}

#[tokio::test]
async fn what_a_program_leaves_running_with_its_outputs_is_not_waited_for() {
    let begun = Instant::now();
    let output = shell("sleep 20 & echo done").run(b"", &[], LONG).await.unwrap();
    assert_eq!(output, "done\n");
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn what_is_not_there_is_told() {
    let argv = Argv::new(vec!["/nowhere/deploy".to_owned()]).unwrap();
    let error = argv.run(b"", &[], LONG).await.unwrap_err();
    assert!(matches!(error, CommandError::NotStarted { .. }), "{error}");
    assert_eq!(Argv::new(vec![]), None);
    assert_eq!(Argv::new(vec!["a".to_owned(), "b\0".to_owned()]), None);
}
