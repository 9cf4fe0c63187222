//! Says something to somebody, as a script would.
//!
//! ```sh
//! cargo run --example say -- 127.0.0.1:8080 NAME PASSWORD TO TEXT
//! ```

use teamtalk::client::{Client, ClientError, Login, Session, msg_server};

/// The key of message texts, as in the samples of `conf/`.
const AES_KEY: &[u8] = b"12345678901234567890123456789012";

fn main() -> Result<(), ClientError> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [login_server, name, password, to, text] = &args[..] else {
        eprintln!("usage: say LOGIN_SERVER NAME PASSWORD TO TEXT");
        std::process::exit(2);
    };
    let mut client = Client::connect(&msg_server(login_server)?.prior, AES_KEY)?;
    client.login(&Login::new(name, password))?;
    let (_, users) = client.all_users(0)?;
    match users.iter().find(|user| user.user_real_name == *to) {
        Some(user) => {
            let number = client.send_text(Session::User(user.user_id), text)?;
            println!("stored as message {number}");
        }
        None => println!("there is nobody called {to}"),
    }
    client.logout()
}
