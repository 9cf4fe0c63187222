//! A bot that repeats what it is told, and stays connected whatever happens.
//!
//! ```sh
//! cargo run --example echo_bot -- 127.0.0.1:8080 NAME PASSWORD
//! ```

use std::env;
use std::time::Duration;

use teamtalk::client::{ClientError, Event, Login, Server, Update, UserSession};

/// The key of message texts, as in the samples of `conf/`.
const AES_KEY: &[u8] = b"12345678901234567890123456789012";

fn main() -> Result<(), ClientError> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [login_server, name, password] = &args[..] else {
        eprintln!("usage: echo_bot LOGIN_SERVER NAME PASSWORD");
        std::process::exit(2);
    };
    let server = Server::Login(login_server.clone());
    let mut bot = UserSession::new(server, AES_KEY, Login::new(name, password));
    let mut me = 0;
    loop {
        match bot.next_update(Duration::from_secs(60))? {
            Some(Update::Connected(user)) => {
                me = user.user_id;
                println!("connected as {} ({me})", user.user_nick_name);
            }
            Some(Update::Lost(error)) => println!("{error}; connecting again"),
            Some(Update::Event(Event::Message(message))) if message.from_user_id != me => {
                let session = message.session(me);
                println!("{session:?}: {}", message.text().unwrap_or("(no text)"));
                let text = format!("you said: {}", message.text().unwrap_or("?"));
                match bot.send_text(session, &text, Duration::from_secs(60)) {
                    Err(error @ ClientError::Refused { .. }) => println!("{error}"),
                    Err(error) => return Err(error),
                    // A bot has read what it has answered.
                    Ok(_) => {
                        if let Some(client) = bot.client() {
                            client.mark_read(session, message.msg_id)?;
                        }
                    }
                }
            }
            Some(Update::Event(_)) | None => {}
        }
    }
}
