//! Passing over what nobody asked for, without recursion: how deep a file nests is not the stack's business.

use super::{DEEPEST, Json, Kind, Result};

impl Json<'_> {
    /// Passes over one value of any kind. It must be JSON, nothing else is asked of it.
    ///
    /// # Errors
    /// When it is not, or nests deeper than [`DEEPEST`].
    pub fn skip(&mut self) -> Result<()> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            if self.skip_one(&mut open)? {
                continue;
            }
            loop {
                let Some(closing) = open.last().copied() else {
                    return Ok(());
                };
                if self.another(closing)? {
                    self.key_if(closing)?;
                    break;
                }
                open.pop();
            }
        }
    }

    /// Passes over a scalar or an empty list or object, or opens one that is not empty: then `true`.
    fn skip_one(&mut self, open: &mut Vec<u8>) -> Result<bool> {
        let closing = match self.kind()? {
            Kind::Object => b'}',
            Kind::List => b']',
            Kind::String => return self.skip_string().map(|()| false),
            Kind::Number => return self.skip_number().map(|()| false),
            Kind::Null => return self.literal("null").map(|()| false),
            Kind::Truth => {
                let word = if self.token()? == b't' { "true" } else { "false" };
                return self.literal(word).map(|()| false);
            }
        };
        if open.len() == DEEPEST {
            return Err(self.fault(format!("is nested deeper than {DEEPEST} levels")));
        }
        self.start += 1;
        if self.token()? == closing {
            self.start += 1;
            return Ok(false);
        }
        open.push(closing);
        self.key_if(closing)?;
        Ok(true)
    }

    fn key_if(&mut self, closing: u8) -> Result<()> {
        if closing == b'}' {
            match self.token()? {
                b'"' => self.skip_string()?,
                other => return Err(self.unexpected(other, "a key in double quotes")),
            }
            self.colon()?;
        }
        Ok(())
    }
}
